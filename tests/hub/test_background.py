"""Uploads beside a training: it never waits for them while it runs, and none of them ends it."""

import logging
import re
import threading

import pytest

from tests.hub.hub_server import OWNER, SIGNATURE, TOKEN, Refusal
from tfseg.hub import background, connection, snapshot
from tfseg.hub.background import Uploads
from tfseg.hub.repository import Repository

REPO = f"{OWNER}/x"
REPAIR = "python -m tfseg.push --model_dir=runs/x"


@pytest.fixture
def best(model_dir):
    return model_dir / "best"


@pytest.fixture
def uploads(hub_server, best, caplog):
    caplog.set_level(logging.INFO, "tfseg")
    return Uploads(best, Repository("x", private=False), REPAIR)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def replace_weights(best, content):
    """As a training does: another file takes the place."""
    (best / "new").write_bytes(content)
    (best / "new").replace(best / "model.safetensors")


def test_the_folder_is_uploaded_and_a_line_says_so(hub_server, uploads, best, caplog):
    with uploads:
        uploads.submit("Best weights")
    assert hub_server.stored(REPO)["model.safetensors"] == (best / "model.safetensors").read_bytes()
    assert hub_server.commits == ["Best weights"]
    assert f"uploaded to {hub_server.url}/{REPO}: Best weights" in caplog.text
    assert warnings(caplog) == []
    assert [path.name for path in best.parent.iterdir() if path.name.startswith(".")] == []


def test_a_card_can_stand_in_for_the_one_of_the_folder(hub_server, uploads, best):
    before = (best / "README.md").read_bytes()
    with uploads:
        uploads.submit("Epoch 1", lambda: "---\nlibrary_name: x\n---\nOWNER/NAME in training\n")
    assert f"{REPO} in training" in hub_server.stored(REPO)["README.md"].decode()
    assert (best / "README.md").read_bytes() == before


@pytest.mark.parametrize("held", ["preupload", "PUT /storage", "commit"])
def test_a_state_is_uploaded_as_it_was_when_it_was_submitted(hub_server, uploads, best, held):
    """The weights are replaced between any two requests of the upload."""
    hub_server.held = held
    hub_server.gate.clear()
    before = (best / "model.safetensors").read_bytes()
    uploads.submit("old")
    replace_weights(best, b"new weights")
    hub_server.gate.set()
    uploads.finish(30)
    assert hub_server.stored(REPO)["model.safetensors"] == before


def test_the_newest_state_replaces_the_one_that_waits(hub_server, uploads, best):
    hub_server.held = "commit"
    hub_server.gate.clear()
    for number in range(4):
        replace_weights(best, b"%d" % number)
        uploads.submit(f"state {number}")
    hub_server.gate.set()
    uploads.finish(30)
    assert hub_server.commits == ["state 0", "state 3"]
    assert hub_server.stored(REPO)["model.safetensors"] == b"3"
    assert [path.name for path in best.parent.iterdir() if path.name.startswith(".")] == []


def test_an_upload_after_a_pause_starts_again(hub_server, uploads):
    for number in range(2):
        uploads.submit(f"state {number}")
        uploads.finish(30)
    assert hub_server.commits == ["state 0", "state 1"]


@pytest.mark.parametrize(
    ("part", "refusal", "words"),
    [
        ("whoami", Refusal(401, f"no such token {TOKEN}"), "wrong or has expired"),
        ("create", Refusal(403), "may not write to x"),
        ("PUT", Refusal(400, "bad part"), "400 bad part"),
        ("commit", Refusal(409, "somebody else\nhas committed"), "409 somebody else has committed"),
    ],
)
def test_a_failure_is_one_line_that_names_the_repair(
    hub_server, uploads, caplog, capfd, part, refusal, words
):
    hub_server.refusals[part] = [refusal]
    with uploads:
        uploads.submit("first")
    (line,) = warnings(caplog)
    assert re.fullmatch(
        rf"the upload to \S+ failed, .*{re.escape(words)}.*; upload with: (.*)", line
    )
    assert line.endswith(REPAIR)
    shown = caplog.text + "".join(capfd.readouterr())
    assert "Traceback" not in shown
    assert TOKEN not in shown
    assert SIGNATURE not in shown
    with uploads:
        uploads.submit("second")
    assert hub_server.commits == ["second"]


def test_a_folder_that_cannot_be_read_is_one_line(uploads, caplog, tmp_path):
    uploads._best = tmp_path / "gone"
    uploads.submit("first")
    (line,) = warnings(caplog)
    assert "FileNotFoundError" in line
    assert line.endswith(REPAIR)


def test_a_card_that_cannot_be_made_is_one_line(uploads, caplog, best):
    uploads.submit("first", lambda: {}["missing"])
    (line,) = warnings(caplog)
    assert "KeyError" in line
    assert [path.name for path in best.parent.iterdir() if path.name.startswith(".")] == []


def test_an_upload_that_hangs_is_given_up(hub_server, uploads, caplog, best, monkeypatch):
    """Nothing waits for its thread: a daemon ends with the program."""
    monkeypatch.setattr(background, "LAST_UPLOAD_SECONDS", 0.1)
    hub_server.held = "preupload"
    hub_server.gate.clear()
    with uploads:
        uploads.submit("first")
        uploads.submit("second")
    assert "waiting up to" in caplog.text
    assert warnings(caplog) == [
        f"the upload to {hub_server.url}/x is not done and is given up; upload with: {REPAIR}"
    ]
    assert [path.name for path in best.parent.iterdir() if path.name.startswith(".")] == []
    (thread,) = [one for one in threading.enumerate() if one.name.startswith("tfseg upload")]
    assert thread.daemon
    hub_server.gate.set()
    thread.join(30)
    assert len(warnings(caplog)) == 1
    assert hub_server.commits == []


def test_a_training_that_fails_waits_for_no_upload(hub_server, uploads, caplog):
    hub_server.held = "whoami"
    hub_server.gate.clear()

    def train():
        with uploads:
            uploads.submit("first")
            raise RuntimeError("no more memory")

    with pytest.raises(RuntimeError, match="no more memory"):
        train()
    assert len(warnings(caplog)) == 1
    assert "waiting up to" not in caplog.text


def test_a_busy_hub_is_asked_again(hub_server, uploads, caplog, monkeypatch):
    monkeypatch.setattr(connection.time, "sleep", lambda seconds: None)
    hub_server.refusals["create"] = [Refusal(429, Retry_After="3")]
    with uploads:
        uploads.submit("first")
    assert hub_server.commits == ["first"]
    assert "next attempt in 3 s" in caplog.text
    assert warnings(caplog) == []


def test_a_file_system_without_hard_links_gets_copies(best, monkeypatch):
    def refuse(*_):
        raise OSError("Operation not permitted")

    monkeypatch.setattr(snapshot.os, "link", refuse)
    taken = snapshot.take(best)
    assert {path.name: path.read_bytes() for path in taken.iterdir()} == {
        path.name: path.read_bytes() for path in best.iterdir()
    }
    snapshot.discard(taken)
    assert not taken.exists()


def test_a_snapshot_leaves_out_what_is_half_written(best):
    (best / ".model.safetensors.12-0123abcd.tfseg-tmp").write_bytes(b"half")
    taken = snapshot.take(best)
    assert not [path for path in taken.iterdir() if path.name.startswith(".")]
    snapshot.discard(taken)
