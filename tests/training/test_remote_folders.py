"""Data, first weights and a run's folder on a file system that only TensorFlow can reach.

TensorFlow keeps `ram://` in memory. etils reads and writes gs:// through TensorFlow, and here it is
told to do the same with ram://. So every path that goes around both, as Python's `open` does, fails
as it would on gs://. What this does not show is Google Cloud's own answers.
"""

import dataclasses
import os

import pytest
import tensorflow as tf
from etils.epath import backend, gpath, register

from tests.conftest import make_boxes_config
from tfseg.config import EvalConfig, EvalRunConfig
from tfseg.evaluation.run import run_evaluation
from tfseg.training.run import run_training


@pytest.fixture
def ram(monkeypatch):
    """The folder `ram://test`, which etils knows as it knows gs://."""
    monkeypatch.setattr(gpath, "_URI_SCHEMES", gpath._URI_SCHEMES | {"ram"})
    monkeypatch.setitem(gpath._URI_MAP_ROOT, "ram://", "/ram/")
    monkeypatch.setattr(gpath, "_URI_PREFIXES", (*gpath._URI_PREFIXES, "ram://"))
    monkeypatch.setitem(gpath._PREFIX_TO_BACKEND, "ram", backend.tf_backend)
    monkeypatch.setitem(register._URI_PREFIXES_TO_CLS, "ram://", gpath.PosixGPath)
    return "ram://test"


def copy(folder, target):
    for parent, _, names in os.walk(folder):
        place = target + parent.removeprefix(str(folder))
        tf.io.gfile.makedirs(place)
        for name in names:
            tf.io.gfile.copy(os.path.join(parent, name), f"{place}/{name}")


def list_files(folder):
    return {
        f"{parent}/{name}".removeprefix(f"{folder}/").replace("//", "/")
        for parent, _, names in tf.io.gfile.walk(folder)
        for name in names
    }


@pytest.mark.slow
def test_a_training_and_an_evaluation_on_a_remote_file_system(
    ram, boxes_dir, plain_model_dir, monkeypatch, tmp_path
):
    copy(boxes_dir, f"{ram}/boxes")
    copy(plain_model_dir, f"{ram}/weights")
    monkeypatch.chdir(tmp_path)
    config = make_boxes_config(f"{ram}/boxes", f"{ram}/weights", f"{ram}/run")
    # A SavedModel is a folder that is renamed, and renaming a folder in ram:// loses its files.
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, export=False))
    metrics = run_training(config)
    written = list_files(f"{ram}/run")
    assert {"config.json", "train.flags", "metrics.json", "history.csv"} <= written
    assert {"best/config.json", "best/model.safetensors", "report/index.html"} <= written
    assert any(name.startswith("tensorboard/train/events") for name in written)
    assert "checkpoints/ckpt-2.data-00000-of-00001" in written
    assert not [name for name in written if "tfseg-tmp" in name]
    assert run_training(config) == pytest.approx(metrics), "the run is taken up from its checkpoint"
    evaluation = EvalConfig(EvalRunConfig(model=f"{ram}/run/best"), config.data)
    evaluated = run_evaluation(evaluation)
    assert evaluated["mean_iou"] == pytest.approx(metrics["mean_iou"], abs=1e-6)
    assert os.listdir(tmp_path) == [], "nothing was written to a local folder of the same name"
