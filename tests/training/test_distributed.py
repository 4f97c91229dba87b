"""Trainings over several devices and processes against the same training on one device.

The losses of all epochs, the metrics of the end and the weights must be those of one device, with
clipped gradients, class weights, label smoothing and an eval split that the replicas do not divide.
"""

import csv
import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.conftest import NUM_EVAL_BOXES, make_boxes_config
from tfseg.config import serialization

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "epochs": 3,
    "eval_batch_size": 4,
    "gradient_clip_norm": 0.5,
    "class_weights": "light=4,floor=0.5",
    "label_smoothing": 0.1,
}


@dataclasses.dataclass(frozen=True)
class Launcher:
    """Starts trainings of one small configuration in processes of their own."""

    boxes_dir: Path
    weights: str
    folder: Path

    def start(self, name, strategy, *, devices=1, tf_config=None, run=None, **training):
        """Starts a process; returns it and its model_dir, which processes of one name share."""
        config = make_boxes_config(
            self.boxes_dir, self.weights, self.folder / name, **{**SETTINGS, **training}
        )
        settings = {"strategy": strategy, "export": False, **(run or {})}
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, **settings))
        config = dataclasses.replace(
            config, train_data=dataclasses.replace(config.train_data, random_scale=(0.8, 1.2))
        )
        path = self.folder / f"{name}.json"
        path.write_text(serialization.to_json(config))
        environment = dict(os.environ)
        environment.pop("TF_CONFIG", None)
        if tf_config is not None:
            environment["TF_CONFIG"] = json.dumps(tf_config)
        command = [sys.executable, "-m", "tests.training.distributed_run", str(path), str(devices)]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return process, self.folder / name

    def train(self, name, strategy, **options):
        """Trains in one process; returns the model_dir and the output."""
        process, model_dir = self.start(name, strategy, **options)
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-4000:]
        return model_dir, output


@pytest.fixture(scope="module")
def launcher(boxes_dir, plain_model_dir, tmp_path_factory):
    return Launcher(boxes_dir, plain_model_dir, tmp_path_factory.mktemp("distributed"))


@pytest.fixture(scope="module")
def one_device(launcher):
    """The folder of the training on one device."""
    return launcher.train("one_device", "one_device")[0]


def read_history(model_dir):
    with open(model_dir / "history.csv") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def assert_same_training(model_dir, expected_dir, tolerance=1e-4):
    rows, expected_rows = read_history(model_dir), read_history(expected_dir)
    assert len(rows) == len(expected_rows)
    for row, expected in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(expected, abs=tolerance)
    metrics, expected = (
        json.loads((folder / "metrics.json").read_text()) for folder in (model_dir, expected_dir)
    )
    assert metrics == pytest.approx(expected, abs=tolerance)
    assert metrics["num_examples"] == NUM_EVAL_BOXES


def assert_same_weights(model_dir, expected_dir, tolerance):
    weights, expected = (
        load_file(folder / "best" / "model.safetensors") for folder in (model_dir, expected_dir)
    )
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(weights[name], value, atol=tolerance, err_msg=name)


def test_two_devices_train_as_one(launcher, one_device):
    model_dir, output = launcher.train("two_devices", "mirrored", devices=2)
    assert output.startswith("strategy mirrored: 2 replicas\n")
    assert_same_training(model_dir, one_device)
    assert_same_weights(model_dir, one_device, 1e-3)
