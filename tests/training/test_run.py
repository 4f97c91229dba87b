"""Whole trainings of a tiny SegFormer on a drawn folder: what they leave, refuse and resume."""

import csv
import dataclasses
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from huggingface_hub import ModelCard
from safetensors.numpy import load_file

from tests.conftest import BOX_NAMES, NUM_EVAL_BOXES, make_boxes_config
from tests.data.exif_files import exif_segment, with_segments
from tests.hub.hub_server import OWNER, Refusal, assert_hidden, files_of
from tfseg.config import HubConfig
from tfseg.data import pipeline
from tfseg.errors import UserError
from tfseg.losses.cross_entropy import SegmentationCrossEntropy
from tfseg.models import segformer
from tfseg.serving import module
from tfseg.training import fitting
from tfseg.training.preparation import prepare_run
from tfseg.training.run import run_training


def read_history(model_dir):
    with open(model_dir / "history.csv") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_what_the_readme_lists(boxes_run):
    model_dir, _, _ = boxes_run
    expected = {
        "config.json", "labels.json", "data.json", "train.flags", "history.csv", "metrics.json",
        "best", "checkpoints", "report", "tensorboard", "saved_model",
    }  # fmt: skip
    assert {path.name for path in model_dir.iterdir()} == expected
    assert {path.name for path in (model_dir / "best").iterdir()} == {
        "config.json", "model.safetensors", "preprocessor_config.json", "README.md",
        "predictions.png",
    }  # fmt: skip
    assert {path.name for path in (model_dir / "report").iterdir()} == {
        "index.html", "curves.png", "classes.png", "predictions.png", "confusion_matrix.png",
    }  # fmt: skip
    assert (model_dir / "saved_model" / "1" / "saved_model.pb").exists()
    assert list((model_dir / "tensorboard" / "train").glob("events*"))


def test_metrics_hold_the_contracts_figures(boxes_run):
    model_dir, _, figures = boxes_run
    saved = json.loads((model_dir / "metrics.json").read_text())
    for name in ("loss", "mean_iou", "mean_accuracy", "overall_accuracy"):
        assert saved[name] == pytest.approx(figures[name])
    assert {f"iou_{name}" for name in BOX_NAMES} | {
        f"accuracy_{name}" for name in BOX_NAMES
    } <= set(saved)
    assert saved["num_examples"] == NUM_EVAL_BOXES


def test_the_best_weights_are_the_scored_ones(boxes_run):
    model_dir, _, figures = boxes_run
    best = max(float(row["val_mean_iou"]) for row in read_history(model_dir))
    assert figures["mean_iou"] == pytest.approx(best, abs=1e-6)


def test_history_has_one_row_per_evaluation(boxes_run):
    model_dir, _, _ = boxes_run
    rows = read_history(model_dir)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert [row["step"] for row in rows] == ["3", "6"]
    assert all(np.isfinite(float(row["val_loss"])) for row in rows)


def test_the_saved_labels_and_preprocessing_are_the_data_sets(boxes_run):
    model_dir, _, _ = boxes_run
    model = segformer.load_model(str(model_dir / "best"))
    assert model.labels.names == BOX_NAMES
    assert model.preprocessing.image_size == (64, 64)


def test_the_same_command_again_trains_no_further(boxes_run):
    model_dir, config, figures = boxes_run
    before = read_history(model_dir)
    again = run_training(config)
    assert again["mean_iou"] == pytest.approx(figures["mean_iou"], abs=1e-6)
    assert read_history(model_dir) == before
    assert [path.name for path in (model_dir / "saved_model").iterdir()] == ["1"]


def test_a_data_set_that_has_grown_is_refused_on_resumption(boxes_run, tmp_path):
    model_dir, config, _ = boxes_run
    shutil.copytree(config.data.dataset.removeprefix("folder:"), tmp_path / "grown")
    shutil.copytree(model_dir, tmp_path / "run")
    for part, suffix in (("images", "jpg"), ("annotations", "png")):
        folder = tmp_path / "grown" / part / "train"
        shutil.copy(folder / f"0.{suffix}", folder / f"new.{suffix}")
    grown = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, dataset=f"folder:{tmp_path / 'grown'}"),
        run=dataclasses.replace(config.run, model_dir=str(tmp_path / "run")),
    )
    recorded = (tmp_path / "run" / "config.json").read_text()
    moved = recorded.replace(config.data.dataset, grown.data.dataset)
    (tmp_path / "run" / "config.json").write_text(moved)
    with pytest.raises(UserError, match=r"train split 'train' has changed.*12 examples.*has 13"):
        run_training(grown)


def test_another_configuration_is_refused_and_nothing_is_touched(boxes_run):
    model_dir, config, _ = boxes_run
    before = {path: path.stat().st_mtime_ns for path in model_dir.rglob("*")}
    changed = dataclasses.replace(
        config, training=dataclasses.replace(config.training, learning_rate=0.5)
    )
    with pytest.raises(UserError, match=r"--learning_rate=0\.003, now 0\.5.*--model_dir"):
        run_training(changed)
    assert {path: path.stat().st_mtime_ns for path in model_dir.rglob("*")} == before


def test_noresume_refuses_a_folder_that_holds_a_run(boxes_run):
    _, config, _ = boxes_run
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, resume=False))
    with pytest.raises(UserError, match="--noresume"):
        run_training(config)


@pytest.mark.parametrize(
    ("training", "words"),
    [({"train_batch_size": 13}, "--train_batch_size=13 is larger than the 12 training examples")],
)
def test_bad_input_leaves_nothing(boxes_dir, plain_model_dir, tmp_path, training, words):
    config = make_boxes_config(boxes_dir, plain_model_dir, tmp_path / "run", **training)
    with pytest.raises(UserError, match=words):
        run_training(config)
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert not (tmp_path / "run" / "best").exists()


def test_class_weights_of_an_unknown_class_leave_nothing(boxes_dir, plain_model_dir, tmp_path):
    config = make_boxes_config(
        boxes_dir, plain_model_dir, tmp_path / "run", class_weights="floor=1,boxes=5"
    )
    with pytest.raises(UserError, match=r"--class_weights .*'boxes'.*allowed: floor, box, light"):
        run_training(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_class_weights_and_label_smoothing_reach_the_loss(boxes_dir, plain_model_dir, tmp_path):
    """Trains one step of no size; the loss must be the one of the batch that it saw."""
    config = make_boxes_config(
        boxes_dir,
        plain_model_dir,
        tmp_path,
        class_weights="light=8,floor=0.25",
        label_smoothing=0.2,
        train_steps=1,
        learning_rate=1e-12,
        warmup_steps=0,
    )
    run = prepare_run(config)
    model = fitting.build_model(run)
    batches = pipeline.build_training(
        run.train,
        run.config.train_data,
        model.preprocessing,
        run.spec.labels,
        batch_size=4,
        seed=0,
    )
    images, masks = next(iter(batches))
    logits = model(images, training=True)
    loss = SegmentationCrossEntropy(255, class_weights=(0.25, 1, 8), label_smoothing=0.2)
    expected = float(loss(masks, logits))
    assert abs(expected - float(SegmentationCrossEntropy(255)(masks, logits))) > 0.01
    assert fitting.fit(model, run)
    assert model(images).shape == [*images.shape[:3], 3]
    assert float(read_history(tmp_path)[0]["loss"]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_train_steps_end_within_an_epoch(boxes_dir, plain_model_dir, tmp_path, capsys):
    config = make_boxes_config(boxes_dir, plain_model_dir, tmp_path / "run", train_steps=4)
    run_training(config)
    assert [row["step"] for row in read_history(tmp_path / "run")] == ["3", "4"]
    line = r"^(?:3/3|1/1) - .*loss: .*val_mean_iou: .*/step$"
    assert len(re.findall(line, capsys.readouterr().out, re.MULTILINE)) == 2


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_step(
    boxes_dir, plain_model_dir, tmp_path
):
    config = make_boxes_config(
        boxes_dir,
        plain_model_dir,
        tmp_path / "run",
        learning_rate=1e30,
        warmup_steps=0,
        gradient_clip_norm=None,
    )
    with pytest.raises(UserError, match=r"the loss became .* in one of the steps \d+ to \d+;"):
        run_training(config)


@pytest.mark.slow
def test_a_run_in_mixed_precision_leaves_float32(boxes_dir, plain_model_dir, tmp_path):
    config = make_boxes_config(
        boxes_dir, plain_model_dir, tmp_path / "run", precision="mixed_bfloat16", epochs=1
    )
    figures = run_training(config)
    assert np.isfinite(figures["loss"])
    best = tmp_path / "run" / "best"
    assert {array.dtype for array in load_file(best / "model.safetensors").values()} == {
        np.dtype(np.float32), np.dtype(np.int64)
    }  # fmt: skip
    served = tf.saved_model.load(str(tmp_path / "run" / "saved_model" / "1"))
    assert {weight.dtype for weight in served._weights} == {tf.float32}
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    result = served.signatures["predict_images"](tf.constant(images))
    model = segformer.load_model(str(best))
    np.testing.assert_array_equal(result["class_map"], module.predict_class_maps(model, images))
    probabilities = tf.nn.softmax(model(model.preprocessing(images)))
    np.testing.assert_allclose(result["confidence"], np.max(probabilities, -1), rtol=1e-4)


@pytest.mark.slow
def test_the_best_row_and_the_final_metrics_agree_in_mixed_precision(
    boxes_dir, plain_model_dir, tmp_path
):
    config = make_boxes_config(
        boxes_dir, plain_model_dir, tmp_path / "run", precision="mixed_bfloat16"
    )
    run = dataclasses.replace(config.run, export=False)
    run_training(dataclasses.replace(config, run=run))
    saved = json.loads((tmp_path / "run" / "metrics.json").read_text())
    best = max(float(row["val_mean_iou"]) for row in read_history(tmp_path / "run"))
    assert saved["mean_iou"] == best
    assert saved["precision"] == "mixed_bfloat16"


@pytest.mark.slow
def test_steps_can_be_profiled_for_tensorboard(boxes_dir, plain_model_dir, tmp_path):
    config = make_boxes_config(boxes_dir, plain_model_dir, tmp_path / "run", epochs=1)
    run = dataclasses.replace(config.run, profile_steps=(2, 3), export=False)
    run_training(dataclasses.replace(config, run=run))
    assert list((tmp_path / "run" / "tensorboard").rglob("plugins/profile/*/*.xplane.pb"))


def start_training(boxes_dir, init_from, model_dir, epochs):
    return subprocess.Popen(
        [
            sys.executable, "-m", "tfseg.train", f"--dataset=folder:{boxes_dir}", "--image_size=64",
            f"--init_from={init_from}", f"--model_dir={model_dir}", "--train_batch_size=4",
            f"--epochs={epochs}", "--learning_rate=3e-3", "--noexport",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_an_uninterrupted_one(
    boxes_dir, plain_model_dir, tmp_path
):
    """Kills a run after its second checkpoint; the resumed one must see the same batches.

    A checkpoint counts once its name stands in the folder's `checkpoint` file, which is written
    after its index: the third index says so of the second.
    """
    whole = start_training(boxes_dir, plain_model_dir, tmp_path / "whole", 60)
    assert whole.wait(timeout=300) == 0
    killed = start_training(boxes_dir, plain_model_dir, tmp_path / "killed", 60)
    while not (tmp_path / "killed" / "checkpoints" / "ckpt-3.index").exists():
        assert killed.poll() is None
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    resumed = start_training(boxes_dir, plain_model_dir, tmp_path / "killed", 60)
    output, _ = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, output
    first_epoch = int(re.search(r"resumed from .* after (\d+) epochs", output).group(1))
    assert 2 <= first_epoch < 60
    rows, expected = read_history(tmp_path / "killed"), read_history(tmp_path / "whole")
    assert [row["epoch"] for row in rows] == [row["epoch"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert float(row["loss"]) == pytest.approx(float(other["loss"]), rel=0.02)
    assert not list((tmp_path / "killed").rglob("*.tfseg-tmp"))


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_leaves_whole_files(boxes_dir, plain_model_dir, tmp_path):
    """A file size limit makes writing fail as a full disk does, in the middle of a file."""
    code = (
        "import resource, signal, sys, runpy;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "runpy.run_module('tfseg.train', run_name='__main__')"
    )
    result = subprocess.run(
        [
            sys.executable, "-c", code, f"--dataset=folder:{boxes_dir}", "--image_size=64",
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
    assert not list((tmp_path / "run").rglob("*.tfseg-tmp"))
    assert not (tmp_path / "run" / "best" / "model.safetensors").exists()


def test_a_run_takes_photographs_as_they_are_stored_if_told_so(
    boxes_dir, plain_model_dir, tmp_path
):
    data = tmp_path / "data"
    shutil.copytree(boxes_dir, data)
    for path in (data / "images").glob("*/*.jpg"):
        path.write_bytes(with_segments(path.read_bytes(), exif_segment(6)))
    config = make_boxes_config(data, plain_model_dir, tmp_path / "run")
    for apply_exif, size in ((True, (70, 50)), (False, (50, 70))):
        train_data = dataclasses.replace(config.train_data, apply_exif=apply_exif)
        run = prepare_run(dataclasses.replace(config, train_data=train_data))
        assert fitting.build_model(run).preprocessing.apply_exif == apply_exif
        for split in (run.train, run.eval):
            example = next(iter(split.examples))
            assert example["image"].shape == (*size, 3)
            assert example["mask"].shape == size


@pytest.fixture
def ended(boxes_run, tmp_path):
    """A copy of a finished training, which the same command ends again without an epoch."""
    model_dir, config, _ = boxes_run
    shutil.copytree(model_dir, tmp_path / "boxes.b0")
    run = dataclasses.replace(config.run, model_dir=str(tmp_path / "boxes.b0"))
    return tmp_path / "boxes.b0", dataclasses.replace(config, run=run)


def pushing(config, **options):
    return dataclasses.replace(config, hub=HubConfig(push_to_hub=True, **options))


@pytest.mark.slow
def test_the_end_of_a_training_uploads_its_best_weights(ended, hub_server, capfd, caplog):
    caplog.set_level(logging.INFO, "tfseg")
    model_dir, config = ended
    figures = run_training(pushing(config, hub_private=True))
    repo_id = f"{OWNER}/boxes.b0"
    expected = files_of(model_dir / "best")
    expected["README.md"] = expected["README.md"].replace(b"OWNER/NAME", repo_id.encode())
    assert hub_server.stored(repo_id) == expected
    assert hub_server.is_private == {repo_id: True}
    card = ModelCard(expected["README.md"].decode())
    assert card.data.eval_results[0].metric_value == pytest.approx(figures["mean_iou"])
    assert "![Images, masks and predictions](predictions.png)" in card.text
    assert expected["predictions.png"] == (model_dir / "report" / "predictions.png").read_bytes()
    assert json.loads((model_dir / "config.json").read_text())["hub"]["hub_model_id"] == repo_id
    shown = caplog.text + "".join(capfd.readouterr())
    assert f"uploaded to {hub_server.url}/{repo_id}" in shown
    assert_hidden(shown, model_dir)
    model = segformer.load_model(repo_id)
    assert model.labels.names == ("floor", "box", "light")


@pytest.mark.slow
def test_a_hub_that_fails_at_the_end_leaves_the_training_as_it_is(ended, hub_server, caplog):
    model_dir, config = ended
    hub_server.refusals["commit"] = [Refusal(401)]
    figures = run_training(pushing(config))
    assert figures["mean_iou"] > 0
    (line,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert line.endswith(f"upload with: python -m tfseg.push --model_dir={model_dir}")
    assert "wrong or has expired" in line
