"""HTTP servers on this machine, for tests of what talks to a network."""

import http.server
import socket
import threading


class Host:
    """Serves a folder over HTTP and notes the requests; `close` ends it."""

    def __init__(self, folder):
        requests = self.requests = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(folder))

            def log_message(self, template, *values):
                requests.append(str(values[0]))

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def find_free_ports(count):
    """Returns ports on which nobody listens, each another one."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def find_closed_url():
    """Returns the address of a port on which nobody listens."""
    return f"http://127.0.0.1:{find_free_ports(1)[0]}"


COMMIT = "0" * 40


def use_model_hub(monkeypatch, endpoint, cache):
    """Lets huggingface_hub look up models at `endpoint` and keep them in `cache`."""
    from huggingface_hub import constants, file_download

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


class ModelHubHandler(http.server.BaseHTTPRequestHandler):
    """Answers file look-ups as the Hub does, from `<server.folder>/<owner>/<name>/`."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.wfile.write(self.answer())

    def answer(self) -> bytes:
        repo, _, rest = self.path.strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        path = self.server.folder / repo / name
        failure = None
        if not path.parent.exists():
            failure = "RepoNotFound"
        elif revision not in ("main", "v1"):
            failure = "RevisionNotFound"
        elif not path.is_file():
            failure = "EntryNotFound"
        content = b"" if failure else path.read_bytes()
        self.send_response(404 if failure else 200)
        self.send_header("ETag", f'"{name}-1"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        if failure:
            self.send_header("X-Error-Code", failure)
        self.end_headers()
        return content

    def log_message(self, *arguments):
        """Keeps look-ups out of the tests' output."""
