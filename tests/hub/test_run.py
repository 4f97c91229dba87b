"""`tfseg.push` against a Hub on this machine: what it stores, what it refuses, what it hides."""

import http.server
import logging
import threading
import traceback

import pytest
import requests
from huggingface_hub import ModelCard, constants

from tests import hosts
from tests.hub.hub_server import OWNER, SIGNATURE, TOKEN, Refusal
from tfseg.config import PushConfig
from tfseg.errors import UserError
from tfseg.hub import connection, failures
from tfseg.hub.run import run_push

REPO = f"{OWNER}/streets-b0"


def push(model_dir, **options):
    return run_push(PushConfig(model_dir=str(model_dir), **options))


def best_files(model_dir, repo_id=REPO):
    files = {path.name: path.read_bytes() for path in (model_dir / "best").iterdir()}
    return {**files, "README.md": files["README.md"].replace(b"OWNER/NAME", repo_id.encode())}


def test_the_hub_stores_the_bytes_of_the_folder(hub_server, model_dir):
    assert push(model_dir) == f"{hub_server.url}/{REPO}"
    assert hub_server.stored(REPO) == best_files(model_dir)
    assert hub_server.is_private == {REPO: False}
    assert hub_server.commits == ["Upload by tfseg.push"]
    card = ModelCard(hub_server.stored(REPO)["README.md"].decode())
    assert f'load_model("{REPO}")' in card.text
    assert "OWNER/NAME" not in card.text


def test_large_files_go_through_lfs_and_are_sent_once(hub_server, model_dir):
    push(model_dir)
    push(model_dir)
    assert len([line for line in hub_server.requests if line.startswith("PUT ")]) == 2
    assert {len(content) for content in hub_server.objects.values()} == {25600, 5004}


@pytest.mark.parametrize("hub_model_id", ["other", f"{OWNER}/other"])
def test_the_repository_has_the_given_name(hub_server, model_dir, hub_model_id):
    push(model_dir, hub_model_id=hub_model_id, hub_private=True)
    assert hub_server.is_private == {f"{OWNER}/other": True}
    assert hub_server.stored(f"{OWNER}/other") == best_files(model_dir, f"{OWNER}/other")


def test_the_runs_own_repository_counts(hub_server, model_dir):
    text = (model_dir / "config.json").read_text()
    recorded = text.replace('"push_to_hub": false', '"push_to_hub": true')
    recorded = recorded.replace('"hub_model_id": null', '"hub_model_id": "recorded"')
    recorded = recorded.replace('"hub_private": false', '"hub_private": true')
    (model_dir / "config.json").write_text(recorded)
    push(model_dir)
    assert hub_server.is_private == {f"{OWNER}/recorded": True}


def test_a_run_of_an_earlier_version_can_be_uploaded(hub_server, model_dir):
    text = (model_dir / "config.json").read_text()
    (model_dir / "config.json").write_text(text[: text.index(',\n  "hub"')] + "\n}\n")
    push(model_dir)
    assert hub_server.stored(REPO) == best_files(model_dir)


def test_a_run_that_was_killed_gets_the_card_of_its_best_epoch(hub_server, model_dir):
    (model_dir / "best" / "README.md").unlink()
    push(model_dir)
    card = ModelCard(hub_server.stored(REPO)["README.md"].decode())
    assert [result.metric_value for result in card.data.eval_results] == [0.75, 0.875]
    assert "has not ended: these are the weights after epoch 2." in card.text
    assert not (model_dir / "best" / "README.md").exists()


@pytest.mark.parametrize("history", [None, "epoch,step,loss,val_mean_iou\n1,3,2,\n"])
def test_a_run_that_was_killed_before_its_first_row_gets_a_card_without_figures(
    hub_server, model_dir, history
):
    (model_dir / "best" / "README.md").unlink()
    (model_dir / "history.csv").unlink()
    if history:
        (model_dir / "history.csv").write_text(history)
    push(model_dir)
    card = ModelCard(hub_server.stored(REPO)["README.md"].decode())
    assert card.data.eval_results is None
    assert "these are the weights of its first evaluation" in card.text


def test_nothing_is_left_beside_the_run(hub_server, model_dir):
    before = sorted(model_dir.rglob("*"))
    push(model_dir)
    hub_server.refusals["commit"] = [Refusal(403)]
    with pytest.raises(UserError, match=r"--hub_model_id"):
        push(model_dir)
    assert sorted(model_dir.rglob("*")) == before


def test_a_public_repository_is_refused_for_a_private_model(hub_server, model_dir):
    hub_server.is_private[REPO] = False
    with pytest.raises(UserError, match=f"{REPO} exists on the Hub and is public.*--hub_private"):
        push(model_dir, hub_private=True)
    assert hub_server.stored(REPO) == {}


@pytest.mark.parametrize("name", ["a/b/c", "https://huggingface.co/anna/x", "x--y", "with space"])
def test_a_name_that_the_hub_does_not_allow_is_refused(hub_server, model_dir, name):
    with pytest.raises(UserError, match=r"--hub_model_id=.* takes name or owner/name"):
        push(model_dir, hub_model_id=name)
    assert hub_server.requests == []


@pytest.mark.parametrize("missing", ["config.json", "labels.json", "best/config.json"])
def test_a_folder_that_is_no_run_is_refused(hub_server, model_dir, missing):
    (model_dir / missing).unlink()
    with pytest.raises(UserError, match=rf"--model_dir=.* has no {missing}"):
        push(model_dir)
    assert hub_server.requests == []


def test_no_token_is_refused(hub_server, model_dir, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match=r"hf auth login.*HF_TOKEN"):
        push(model_dir)
    assert hub_server.requests == []


def test_offline_is_refused(hub_server, model_dir, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        push(model_dir)


def test_a_wrong_token_is_refused_and_not_repeated(hub_server, model_dir, monkeypatch, capfd):
    """The server's own words repeat the token."""
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match=r"token of HF_TOKEN \(401\).*expired") as raised:
        push(model_dir)
    shown = "".join([*traceback.format_exception(raised.value), *capfd.readouterr()])
    assert "hf_wrong" not in shown


def test_a_token_in_the_words_of_the_server_is_hidden(hub_server, model_dir):
    hub_server.refusals["commit"] = [Refusal(400, f"Bearer {TOKEN} sent a bad file\nline two")]
    with pytest.raises(UserError, match=r"Bearer <token> sent a bad file line two") as raised:
        push(model_dir)
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("token", ["hf_se\x01cret\nline", "hf_se\u2192cret"])
def test_a_token_that_no_header_can_hold_is_not_repeated(hub_server, model_dir, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(UserError) as raised:
        push(model_dir)
    assert "cret" not in str(raised.value)


def test_a_token_that_expires_during_the_upload_is_named(hub_server, model_dir):
    hub_server.refusals["preupload"] = [Refusal(401, "Invalid credentials")]
    with pytest.raises(UserError, match=r"\(401\): it is wrong or has expired"):
        push(model_dir)
    assert hub_server.stored(REPO) == {}


def test_a_token_that_may_only_read_is_refused(hub_server, model_dir):
    hub_server.role = "read"
    with pytest.raises(UserError, match="'laptop' of the Hub may only read"):
        push(model_dir)
    assert hub_server.is_private == {}


def test_the_repository_of_somebody_else_is_refused(hub_server, model_dir):
    with pytest.raises(UserError, match=r"may not write to bert/x \(403\).*--hub_model_id"):
        push(model_dir, hub_model_id="bert/x")


@pytest.mark.parametrize(
    "request_line", ["whoami", "create", "validate", "preupload", "batch", "commit"]
)
def test_a_busy_hub_is_asked_again_after_the_time_that_it_names(
    hub_server, model_dir, request_line, monkeypatch
):
    waits = []
    monkeypatch.setattr(connection.time, "sleep", waits.append)
    hub_server.refusals[request_line] = [Refusal(429, Retry_After="7"), Refusal(503)]
    push(model_dir)
    assert waits == [7, 5]
    assert hub_server.stored(REPO) == best_files(model_dir)


def test_a_hub_that_stays_busy_is_given_up(hub_server, model_dir):
    hub_server.refusals["create"] = [Refusal(429, Retry_After="0")] * 5
    with pytest.raises(UserError, match=r"limits how many requests .*\(429\); it asks to wait 0 s"):
        push(model_dir)
    assert len(hub_server.refusals["create"]) == 2


@pytest.fixture
def _no_waiting(monkeypatch):
    monkeypatch.setattr(connection.time, "sleep", lambda seconds: None)


@pytest.mark.usefixtures("_no_waiting")
def test_a_repeated_large_file_does_not_tell_its_signed_address(hub_server, model_dir, caplog):
    """huggingface_hub itself repeats it, and logs the address as a warning."""
    logger = logging.getLogger("huggingface_hub")
    logger.addHandler(caplog.handler)
    level = logger.level
    hub_server.refusals["PUT"] = [Refusal(503)]
    push(model_dir)
    logger.removeHandler(caplog.handler)
    assert hub_server.refusals["PUT"] == []
    assert SIGNATURE not in caplog.text
    assert logger.level == level


def test_a_refused_large_file_does_not_tell_its_signed_address(hub_server, model_dir, capfd):
    hub_server.refusals["PUT"] = [Refusal(403, "signature has expired")] * 3
    with pytest.raises(UserError, match=r"\(403\)") as raised:
        push(model_dir)
    hub_server.refusals["PUT"] = [Refusal(418, "teapot")] * 3
    with pytest.raises(UserError, match=r"418 teapot") as also_raised:
        push(model_dir)
    assert SIGNATURE not in f"{raised.value}{also_raised.value}" + "".join(capfd.readouterr())


@pytest.mark.usefixtures("_no_waiting")
def test_a_hub_that_does_not_exist_is_named(hub_server, model_dir, monkeypatch):
    url = hosts.find_closed_url()
    monkeypatch.setattr(constants, "ENDPOINT", url)
    with pytest.raises(UserError, match=rf"{url} does not answer \(ConnectionError\)"):
        push(model_dir)


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("held", ["whoami", "preupload", "PUT /storage", "commit"])
def test_a_hub_that_falls_silent_is_given_up(hub_server, model_dir, held, monkeypatch):
    """The connection stands, and no answer comes."""
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.1)
    hub_server.held = held
    hub_server.gate.clear()
    with pytest.raises(UserError, match=r"does not answer \((ReadTimeout|ConnectionError)\)"):
        push(model_dir)
    assert hub_server.stored(REPO) == {}


class _Cut(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.connection.close()

    def log_message(self, *arguments):
        pass


@pytest.mark.usefixtures("_no_waiting")
def test_a_connection_that_is_cut_is_given_up(hub_server, model_dir, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Cut)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(UserError, match=r"does not answer \(ConnectionError\)"):
        push(model_dir)
    server.shutdown()
    server.server_close()


def test_a_date_says_how_long_to_wait():
    answer = requests.Response()
    answer.headers["Retry-After"] = "Wed, 21 Oct 2015 07:28:00 GMT"
    error = requests.HTTPError(response=answer)
    assert failures.seconds_to_wait(error) == 0


def test_an_error_around_another_one_tells_both():
    """As huggingface_hub raises it when a large file cannot be read."""
    error = RuntimeError("Error while uploading 'model.safetensors' to the Hub.")
    error.__cause__ = FileNotFoundError("no such file")
    assert failures.describe(error, REPO) == f"{error} FileNotFoundError: no such file"
