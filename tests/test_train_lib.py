"""Whole trainings of a tiny SegFormer on a drawn folder: what they leave, refuse and resume."""

import csv
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tfseg import train_lib
from tfseg.config import DataConfig, ModelConfig, RunConfig, TrainConfig, TrainingConfig
from tfseg.errors import UserError
from tfseg.models import segformer

NUM_TRAIN, NUM_EVAL = 12, 5
NAMES = ("floor", "box", "light")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A data set of coloured boxes in ADE20K's layout, with a void frame and odd sizes."""
    root = tmp_path_factory.mktemp("data") / "boxes"
    rng = np.random.default_rng(0)
    for split, count in (("train", NUM_TRAIN), ("val", NUM_EVAL)):
        for part in ("images", "annotations"):
            (root / part / split).mkdir(parents=True)
        for index in range(count):
            image, mask = draw_boxes(rng, (50 + index, 70))
            Image.fromarray(image).save(root / "images" / split / f"{index}.jpg", quality=95)
            Image.fromarray(mask).save(root / "annotations" / split / f"{index}.png")
    (root / "id2label.json").write_text(json.dumps(dict(enumerate(NAMES))))
    return root


def draw_boxes(rng, size):
    image = rng.integers(90, 130, (*size, 3)).astype(np.uint8)
    mask = np.zeros(size, np.uint8)
    for class_id, color in ((1, (220, 40, 40)), (2, (240, 240, 120))):
        top, left = rng.integers(4, size[0] - 24), rng.integers(4, size[1] - 24)
        image[top : top + 18, left : left + 20] = color
        mask[top : top + 18, left : left + 20] = class_id
    mask[:2] = 255
    return image, mask


@pytest.fixture(scope="session")
def plain_model_dir(tiny_model, tmp_path_factory):
    """`tiny_model` without dropout, so that equal batches give equal steps."""
    path = tmp_path_factory.mktemp("models") / "plain"
    segformer.save_model(tiny_model, str(path))
    config = json.loads((path / "config.json").read_text())
    config.update(drop_path_rate=0.0, classifier_dropout_prob=0.0)
    (path / "config.json").write_text(json.dumps(config))
    return str(path)


def make_config(folder, init_from, model_dir, **training):
    return TrainConfig(
        data=DataConfig(dataset=f"folder:{folder}", image_size=(64, 64)),
        model=ModelConfig(init_from=init_from),
        training=TrainingConfig(
            **{"train_batch_size": 4, "epochs": 2, "learning_rate": 3e-3, **training}
        ),
        run=RunConfig(model_dir=str(model_dir)),
    )


@pytest.fixture(scope="session")
def finished_run(folder, plain_model_dir, tmp_path_factory):
    model_dir = tmp_path_factory.mktemp("runs") / "boxes"
    config = make_config(folder, plain_model_dir, model_dir)
    return model_dir, config, train_lib.run_training(config)


def read_history(model_dir):
    with open(model_dir / "history.csv") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_what_the_readme_lists(finished_run):
    model_dir, _, _ = finished_run
    expected = {
        "config.json", "train.flags", "history.csv", "metrics.json", "best", "checkpoints",
        "report", "tensorboard", "saved_model",
    }  # fmt: skip
    assert {path.name for path in model_dir.iterdir()} == expected
    assert {path.name for path in (model_dir / "best").iterdir()} == {
        "config.json", "model.safetensors", "preprocessor_config.json", "README.md",
    }  # fmt: skip
    assert {path.name for path in (model_dir / "report").iterdir()} == {
        "index.html", "curves.png", "predictions.png", "confusion_matrix.png",
    }  # fmt: skip
    assert (model_dir / "saved_model" / "1" / "saved_model.pb").exists()
    assert list((model_dir / "tensorboard" / "train").glob("events*"))


def test_metrics_hold_the_contracts_figures(finished_run):
    model_dir, _, figures = finished_run
    saved = json.loads((model_dir / "metrics.json").read_text())
    for name in ("loss", "mean_iou", "mean_accuracy", "overall_accuracy"):
        assert saved[name] == pytest.approx(figures[name])
    assert {f"iou_{name}" for name in NAMES} | {f"accuracy_{name}" for name in NAMES} <= set(saved)
    assert saved["num_examples"] == NUM_EVAL


def test_the_best_weights_are_the_scored_ones(finished_run):
    model_dir, _, figures = finished_run
    best = max(float(row["val_mean_iou"]) for row in read_history(model_dir))
    assert figures["mean_iou"] == pytest.approx(best, abs=1e-6)


def test_history_has_a_row_an_evaluation(finished_run):
    model_dir, _, _ = finished_run
    rows = read_history(model_dir)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert [row["step"] for row in rows] == ["3", "6"]
    assert all(np.isfinite(float(row["val_loss"])) for row in rows)


def test_the_saved_labels_and_preprocessing_are_the_data_sets(finished_run):
    model_dir, _, _ = finished_run
    model = segformer.load_model(str(model_dir / "best"))
    assert model.labels.names == NAMES
    assert model.preprocessing.image_size == (64, 64)


def test_the_same_command_again_trains_no_further(finished_run):
    model_dir, config, figures = finished_run
    before = read_history(model_dir)
    again = train_lib.run_training(config)
    assert again["mean_iou"] == pytest.approx(figures["mean_iou"], abs=1e-6)
    assert read_history(model_dir) == before
    assert [path.name for path in (model_dir / "saved_model").iterdir()] == ["1"]


def test_another_configuration_is_refused_and_nothing_is_touched(finished_run):
    model_dir, config, _ = finished_run
    before = {path: path.stat().st_mtime_ns for path in model_dir.rglob("*")}
    changed = dataclasses.replace(
        config, training=dataclasses.replace(config.training, learning_rate=0.5)
    )
    with pytest.raises(UserError, match=r"--learning_rate=0\.003, now 0\.5.*--model_dir"):
        train_lib.run_training(changed)
    assert {path: path.stat().st_mtime_ns for path in model_dir.rglob("*")} == before


def test_noresume_refuses_a_folder_that_holds_a_run(finished_run):
    _, config, _ = finished_run
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, resume=False))
    with pytest.raises(UserError, match="--noresume"):
        train_lib.run_training(config)


@pytest.mark.parametrize(
    ("training", "words"),
    [({"train_batch_size": 13}, "--train_batch_size=13 is larger than the 12 training examples")],
)
def test_bad_input_leaves_nothing(folder, plain_model_dir, tmp_path, training, words):
    config = make_config(folder, plain_model_dir, tmp_path / "run", **training)
    with pytest.raises(UserError, match=words):
        train_lib.run_training(config)
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert not (tmp_path / "run" / "best").exists()


def test_train_steps_end_within_an_epoch(folder, plain_model_dir, tmp_path):
    config = make_config(folder, plain_model_dir, tmp_path / "run", train_steps=4)
    train_lib.run_training(config)
    assert [row["step"] for row in read_history(tmp_path / "run")] == ["3", "4"]


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_step(
    folder, plain_model_dir, tmp_path
):
    config = make_config(
        folder,
        plain_model_dir,
        tmp_path / "run",
        learning_rate=1e30,
        warmup_steps=0,
        gradient_clip_norm=None,
    )
    with pytest.raises(UserError, match=r"the loss became .* at step \d+"):
        train_lib.run_training(config)


def start_training(folder, init_from, model_dir, epochs):
    return subprocess.Popen(
        [
            sys.executable, "-m", "tfseg.train", f"--dataset=folder:{folder}", "--image_size=64",
            f"--init_from={init_from}", f"--model_dir={model_dir}", "--train_batch_size=4",
            f"--epochs={epochs}", "--learning_rate=3e-3", "--noexport",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_an_uninterrupted_one(folder, plain_model_dir, tmp_path):
    """Kills a run after its second checkpoint; the resumed one must see the same batches."""
    whole = start_training(folder, plain_model_dir, tmp_path / "whole", 60)
    assert whole.wait(timeout=300) == 0
    killed = start_training(folder, plain_model_dir, tmp_path / "killed", 60)
    while not (tmp_path / "killed" / "checkpoints" / "ckpt-2.index").exists():
        assert killed.poll() is None
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    resumed = start_training(folder, plain_model_dir, tmp_path / "killed", 60)
    output, _ = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, output
    first_epoch = int(re.search(r"resumed from .* after (\d+) epochs", output).group(1))
    assert 2 <= first_epoch < 60
    rows, expected = read_history(tmp_path / "killed"), read_history(tmp_path / "whole")
    assert [row["epoch"] for row in rows] == [row["epoch"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert float(row["loss"]) == pytest.approx(float(other["loss"]), rel=0.02)
    assert not list((tmp_path / "killed").rglob("*.tmp"))


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_leaves_whole_files(folder, plain_model_dir, tmp_path):
    """A file size limit makes writing fail as a full disk does, in the middle of a file."""
    code = (
        "import resource, signal, sys, runpy;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "runpy.run_module('tfseg.train', run_name='__main__')"
    )
    result = subprocess.run(
        [
            sys.executable, "-c", code, f"--dataset=folder:{folder}", "--image_size=64",
            f"--init_from={plain_model_dir}", f"--model_dir={tmp_path / 'run'}",
            "--train_batch_size=4", "--epochs=2",
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    assert result.returncode == 1
    assert re.search(r"^error: .*(space|large)", result.stderr, re.MULTILINE)
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert not (tmp_path / "run" / "best" / "model.safetensors").exists()
