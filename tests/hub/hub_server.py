"""A server on this machine that speaks the Hub's HTTP API as huggingface_hub calls it.

It keeps what is committed as files in `<folder>/<owner>/<name>/`, from which it also answers the
look-ups of downloads (`tests.hosts.ModelHubHandler`). Large files go through Git LFS: the answer to
`objects/batch` names the transfer `basic`, so huggingface_hub sends a PUT and not through hf_xet.
"""

import base64
import hashlib
import http.server
import json
import re
import sys
import threading
from urllib.parse import urlsplit

from huggingface_hub import ModelCard, constants

from tests import hosts

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz"
OWNER = "anna"
# A signed address as the Hub gives it out for an upload; whoever knows it can upload.
SIGNATURE = "X-Amz-Signature=5ec7e7"
LFS_FILES = (".safetensors", ".png")


def files_of(folder):
    """Name -> bytes of all files in a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def assert_hidden(shown, folder):
    """Neither what a program printed nor a file of a folder holds the token or a signed address."""
    for secret in (TOKEN, SIGNATURE):
        assert secret not in shown
        for name, content in files_of(folder).items():
            assert secret.encode() not in content, name


class Refusal(Exception):
    """An answer other than success: status, headers and words."""

    def __init__(self, status, words="", **headers):
        super().__init__(words)
        self.status, self.words, self.headers = status, words, headers


class HubServer(http.server.ThreadingHTTPServer):
    """Serves until `close`.

    Attributes:
        folder: Holds the files of every repository.
        requests: `"METHOD path"` of every request so far, without its query.
        refusals: For a part of such a line, the refusals that its next requests get, in turn.
        gate: Requests for `held` wait until it is set. A test clears it.
        held: Part of the line of the requests that wait.
        role: What the token may do.
        is_private: Whether each repository is private.
    """

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests, self.refusals, self.is_private, self.objects = [], {}, {}, {}
        self.role, self.commits = "write", []
        self.gate, self.held = threading.Event(), None
        self.gate.set()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request, client_address):
        """Says nothing of a client that has given up."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def close(self):
        self.gate.set()
        self.shutdown()
        self.server_close()

    def use(self, monkeypatch, cache):
        """Lets this process use the server, logged in."""
        hosts.use_model_hub(monkeypatch, self.url, cache)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
        monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)

    def stored(self, repo_id):
        """Name -> bytes of the files of a repository."""
        return files_of(self.folder / repo_id)


class _Handler(hosts.ModelHubHandler):
    def do_POST(self):
        self.respond()

    def do_PUT(self):
        self.respond()

    def do_GET(self):
        if "/resolve/" in self.path:
            super().do_GET()
        else:
            self.respond()

    def respond(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        line = f"{self.command} {urlsplit(self.path).path}"
        self.server.requests.append(line)
        if self.server.held and self.server.held in line:
            self.server.gate.wait(60)
        try:
            self.check(line)
            self.reply(200, self.answer_to(line, body))
        except Refusal as refusal:
            headers = {name.replace("_", "-"): value for name, value in refusal.headers.items()}
            self.reply(refusal.status, {"error": refusal.words}, headers)

    def check(self, line):
        for part, refusals in self.server.refusals.items():
            if part in line and refusals:
                raise refusals.pop(0)
        is_signed = SIGNATURE in self.path
        if not is_signed and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            # The words of a server that repeats what it got.
            raise Refusal(401, f"Invalid credentials: {self.headers.get('Authorization')}")

    def answer_to(self, line, body):
        routes = {
            r"GET /api/whoami-v2": self.whoami,
            r"POST /api/repos/create": self.create,
            r"POST /api/validate-yaml": self.validate,
            r"GET /api/models/(.+)": self.info,
            r"POST /api/models/(.+)/preupload/main": self.preupload,
            r"POST /(.+)\.git/info/lfs/objects/batch": self.batch,
            r"PUT /storage/(\w+)": self.store,
            r"POST /(.+)/verify": self.verify,
            r"POST /api/models/(.+)/commit/main": self.commit,
        }
        for pattern, route in routes.items():
            match = re.fullmatch(pattern, line)
            if match:
                return route(*match.groups(), *([body] if self.command != "GET" else []))
        raise Refusal(404, f"no route for {line}")

    def whoami(self):
        token = {"displayName": "laptop", "role": self.server.role}
        return {"type": "user", "name": OWNER, "auth": {"accessToken": token}}

    def create(self, body):
        request = json.loads(body)
        repo_id = f"{request['organization'] or OWNER}/{request['name']}"
        if request["organization"] not in (None, OWNER):
            raise Refusal(403, f"You don't have the rights to create a model under {repo_id}")
        self.server.is_private.setdefault(repo_id, request.get("private", False))
        return {"url": f"{self.server.url}/{repo_id}"}

    def info(self, repo_id):
        if repo_id not in self.server.is_private:
            raise Refusal(404, "Repository not found", X_Error_Code="RepoNotFound")
        private = self.server.is_private[repo_id]
        return {"id": repo_id, "sha": hosts.COMMIT, "private": private, "siblings": []}

    def preupload(self, repo_id, body):
        return {"files": [self.mode(file["path"]) for file in json.loads(body)["files"]]}

    def mode(self, path):
        mode = "lfs" if path.endswith(LFS_FILES) else "regular"
        return {"path": path, "uploadMode": mode, "shouldIgnore": False}

    def validate(self, body):
        try:
            data = ModelCard(json.loads(body)["content"]).data
            assert data.library_name, "no library_name"
        except Exception as error:
            raise Refusal(400, f"bad card: {error}") from error
        return {"errors": [], "warnings": []}

    def batch(self, repo_id, body):
        request = json.loads(body)
        assert "basic" in request["transfers"]
        return {"transfer": "basic", "objects": [self.actions(o) for o in request["objects"]]}

    def actions(self, described):
        if described["oid"] in self.server.objects:
            return described
        storage = f"{self.server.url}/storage/{described['oid']}?{SIGNATURE}"
        verify = f"{self.server.url}/lfs/verify"
        return {**described, "actions": {"upload": {"href": storage}, "verify": {"href": verify}}}

    def store(self, oid, body):
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refusal(400, "the content does not have this hash")
        self.server.objects[oid] = body
        return {}

    def verify(self, repo_id, body):
        request = json.loads(body)
        if len(self.server.objects.get(request["oid"], b"")) != request["size"]:
            raise Refusal(404, "no such object")
        return {}

    def commit(self, repo_id, body):
        if repo_id not in self.server.is_private:
            raise Refusal(404, "Repository not found", X_Error_Code="RepoNotFound")
        operations = [json.loads(line) for line in body.splitlines()]
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "header":
                self.server.commits.append(value["summary"])
                continue
            is_large = operation["key"] == "lfsFile"
            content = self.server.objects[value["oid"]] if is_large else None
            path = self.server.folder / repo_id / value["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if is_large else base64.b64decode(value["content"]))
        url = f"{self.server.url}/{repo_id}/commit/{hosts.COMMIT}"
        return {"commitUrl": url, "commitOid": hosts.COMMIT}

    def reply(self, status, content, headers=()):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
