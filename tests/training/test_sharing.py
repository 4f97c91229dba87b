"""Trainings that upload: what is refused before they begin, and what never stops them."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys

import pytest
from huggingface_hub import ModelCard, constants

from tests import hosts
from tests.conftest import make_boxes_config
from tests.hub.hub_server import OWNER, TOKEN, HubServer, Refusal, assert_hidden
from tests.test_readme import ROOT, commands
from tfseg.config import HubConfig, TrainConfig
from tfseg.errors import UserError
from tfseg.hub import background, connection
from tfseg.training import sharing
from tfseg.training.run import run_training
from tfseg.training.state import TrainingState


def prepare(model_dir, **options):
    return sharing.prepare_uploads(
        TrainConfig(hub=HubConfig(push_to_hub=True, **options)), model_dir
    )


def test_a_token_is_asked_for_before_anything_is_written(
    boxes_dir, plain_model_dir, hub_server, tmp_path, monkeypatch
):
    monkeypatch.delenv("HF_TOKEN")
    config = make_boxes_config(boxes_dir, plain_model_dir, tmp_path / "run")
    with pytest.raises(UserError, match=r"--push_to_hub: no token .*hf auth login.*tfseg\.push"):
        run_training(dataclasses.replace(config, hub=HubConfig(push_to_hub=True)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("token", "role", "options", "words"),
    [
        ("hf_expired", "write", {}, r"--push_to_hub: .*\(401\).*expired"),
        (TOKEN, "read", {}, "may only read"),
        (TOKEN, "write", {"hub_model_id": "bert/x"}, r"may not write to bert/x \(403\)"),
        (TOKEN, "write", {"hub_model_id": "a/b/c"}, "--hub_model_id=a/b/c is no name"),
    ],
)
def test_what_cannot_work_is_refused_before_the_training(
    hub_server, tmp_path, monkeypatch, token, role, options, words
):
    monkeypatch.setenv("HF_TOKEN", token)
    hub_server.role = role
    with pytest.raises(UserError, match=words) as raised:
        prepare(tmp_path / "run", **options)
    assert token not in str(raised.value)


def test_a_folder_whose_name_the_hub_does_not_allow_needs_an_id(hub_server, tmp_path):
    with pytest.raises(UserError, match=r"the name of .*my run is no name .*--hub_model_id takes"):
        prepare(tmp_path / "my run")
    config, _ = prepare(tmp_path / "my run", hub_model_id="mine")
    assert config.hub.hub_model_id == f"{OWNER}/mine"


def test_a_public_repository_is_refused_before_the_training(hub_server, tmp_path):
    prepare(tmp_path / "run")
    with pytest.raises(UserError, match=f"{OWNER}/run exists on the Hub and is public"):
        prepare(tmp_path / "run", hub_private=True)


@pytest.mark.parametrize("failure", ["unreachable", "busy", "silent"])
def test_a_hub_that_is_away_at_the_start_is_a_warning(
    hub_server, tmp_path, monkeypatch, caplog, failure
):
    """It may be back when the training ends, and then the upload succeeds."""
    if failure == "unreachable":
        monkeypatch.setattr(constants, "ENDPOINT", hosts.find_closed_url())
    elif failure == "busy":
        hub_server.refusals["whoami"] = [Refusal(429, Retry_After="60")]
    else:
        monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.1)
        hub_server.held = "create"
        hub_server.gate.clear()
    (tmp_path / "run" / "best").mkdir(parents=True)
    (tmp_path / "run" / "best" / "README.md").write_text("---\nlibrary_name: x\n---\n")
    config, uploads = prepare(tmp_path / "run")
    assert config.hub.hub_model_id == "run"
    (line,) = [one.getMessage() for one in caplog.records]
    assert line.endswith("the training begins, and uploads will be tried later")
    hub_server.gate.set()
    monkeypatch.setattr(constants, "ENDPOINT", hub_server.url)
    with uploads:
        uploads.submit("end")
    assert hub_server.commits == ["end"]
    assert list(hub_server.is_private) == [f"{OWNER}/run"]


def test_every_save_is_uploaded_with_the_card_of_its_epoch(hub_server, tmp_path):
    best = tmp_path / "run" / "best"
    best.mkdir(parents=True)
    config, uploads = prepare(tmp_path / "run", hub_strategy="every_save")
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, eval_split="val", image_size=(64, 64)),
        model=dataclasses.replace(config.model, init_from="scratch"),
    )
    state = TrainingState()
    state.best.assign(0.1)  # from before a resumption
    callbacks = sharing.build_callbacks(config, ("a", "b"), uploads, state)
    seen = []
    for epoch, value in enumerate([0.1, 0.25, 0.25, 0.5], 1):
        (best / "model.safetensors").unlink(missing_ok=True)
        (best / "model.safetensors").write_bytes(b"%d" % epoch)
        state.best.assign(value)
        for callback in callbacks:
            callback.on_epoch_end(epoch - 1, {"val_mean_iou": value})
        uploads.finish(30)
        stored = hub_server.stored(f"{OWNER}/run")
        seen.append(stored.get("model.safetensors"))
    assert seen == [None, b"2", b"2", b"4"]
    assert hub_server.commits == [
        "Weights after epoch 2, mean IoU 0.2500",
        "Weights after epoch 4, mean IoU 0.5000",
    ]
    card = ModelCard(stored["README.md"].decode())
    assert "these are the weights after epoch 4" in card.text
    assert card.data.eval_results[0].metric_value == 0.5


def test_other_trainings_have_no_callback(tmp_path):
    state = TrainingState()
    config = TrainConfig(hub=HubConfig(push_to_hub=True))
    uploads = background.Uploads(tmp_path, None, "")
    assert sharing.build_callbacks(config, ("a",), uploads, state) == []
    assert sharing.build_callbacks(TrainConfig(), ("a",), None, state) == []


def run_command(words, *, server, folder):
    """Runs `python -m ...` in a folder, as somebody who has set HF_TOKEN."""
    environment = {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HOME": str(folder / "home")}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def small(boxes_dir, plain_model_dir):
    """Flags of a small training."""
    return [
        f"--dataset=folder:{boxes_dir}", f"--init_from={plain_model_dir}", "--image_size=64",
        "--train_batch_size=4", "--epochs=3", "--learning_rate=3e-3", "--noexport",
        "--model_dir=runs/shapes",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_readmes_commands_upload_and_hide_the_token(small, tmp_path):
    server, model_dir = HubServer(tmp_path / "hub"), tmp_path / "runs" / "shapes"
    train, push = (shlex.split(command)[1:] for command in commands("push"))
    trained = run_command([*train, *small], server=server, folder=tmp_path)
    assert trained.returncode == 0, trained.stderr
    repo_id = f"{OWNER}/my-segformer"
    assert server.is_private == {repo_id: True}
    stored = server.stored(repo_id)
    assert stored["model.safetensors"] == (model_dir / "best" / "model.safetensors").read_bytes()
    assert "has not ended" not in stored["README.md"].decode()
    assert re.match(r"Weights after epoch 1, mean IoU", server.commits[0])
    assert server.commits[-1].startswith("Best weights, mean IoU")
    pushed = run_command(push, server=server, folder=tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    assert f"uploaded runs/shapes/best to {server.url}/{repo_id}" in pushed.stdout
    assert server.stored(repo_id) == stored
    for shown in (trained, pushed):
        assert_hidden(shown.stdout + shown.stderr, tmp_path / "runs")
    server.close()


@pytest.mark.slow
def test_a_token_that_expires_during_a_training_ends_nothing(small, tmp_path):
    server = HubServer(tmp_path / "hub")
    server.refusals["preupload"] = [Refusal(401, f"Bearer {TOKEN} has expired")] * 9
    flags = ["--push_to_hub", "--hub_strategy=every_save"]
    result = run_command(["-m", "tfseg.train", *small, *flags], server=server, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "runs" / "shapes" / "report" / "index.html").exists()
    lines = [line for line in result.stdout.splitlines() if " failed, which leaves " in line]
    assert lines
    assert all(line.endswith("python -m tfseg.push --model_dir=runs/shapes") for line in lines)
    assert_hidden(result.stdout + result.stderr, tmp_path / "runs")
    server.close()
