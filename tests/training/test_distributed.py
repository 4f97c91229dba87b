"""Trainings over several devices and processes against the same training on one device.

The losses of all epochs, the metrics of the end and the weights must be those of one device, with
clipped gradients, class weights, label smoothing and an eval split that the replicas do not divide.
"""

import csv
import dataclasses
import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

from tests.conftest import NUM_EVAL_BOXES, make_boxes_config
from tests.hosts import find_free_ports
from tfseg.config import HubConfig, TrainDataConfig, serialization

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

    def write_config(self, name, strategy, *, run=None, hub=None, **training):
        """Writes the configuration of a training whose model_dir is `<folder>/<name>`."""
        config = make_boxes_config(
            self.boxes_dir, self.weights, self.folder / name, **{**SETTINGS, **training}
        )
        settings = {"strategy": strategy, "export": False, **(run or {})}
        config = dataclasses.replace(
            config,
            train_data=TrainDataConfig(augmentation="standard", random_scale=(0.8, 1.2)),
            run=dataclasses.replace(config.run, **settings),
            hub=hub or HubConfig(),
        )
        path = self.folder / f"{name}.json"
        path.write_text(serialization.to_json(config))
        return str(path)

    def start(self, *arguments, devices=1, tf_config=None):
        """Starts a process that trains one configuration after the other."""
        environment = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}
        if tf_config is not None:
            environment["TF_CONFIG"] = json.dumps(tf_config)
        return subprocess.Popen(
            [sys.executable, "-m", "tests.training.distributed_run", str(devices), *arguments],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def start_workers(self, name, **options):
        """Starts two processes that train together."""
        path = self.write_config(name, "auto", **options)
        cluster = {"worker": [f"127.0.0.1:{port}" for port in find_free_ports(2)]}
        tasks = [{"type": "worker", "index": index} for index in range(2)]
        return [self.start(path, tf_config={"cluster": cluster, "task": task}) for task in tasks]

    def train(self, name, strategy, *, devices=1, **options):
        """Trains in one process; returns the model_dir."""
        finish([self.start(self.write_config(name, strategy, **options), devices=devices)])
        return self.folder / name


def finish(processes, timeout=900):
    """Waits until all processes have succeeded; returns what they printed."""
    try:
        results = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, results, strict=True):
        assert process.returncode == 0, errors[-4000:]
    return [output for output, _ in results]


@pytest.fixture(scope="module")
def launcher(boxes_dir, plain_model_dir, tmp_path_factory):
    return Launcher(boxes_dir, plain_model_dir, tmp_path_factory.mktemp("distributed"))


def read_history(model_dir):
    with open(model_dir / "history.csv") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


LOSSES = ("loss", "val_loss", "epoch", "step", "learning_rate")


def assert_same_training(model_dir, expected_dir, **tolerances):
    assert_same_history(model_dir, expected_dir, **tolerances)
    metrics, expected = (
        json.loads((folder / "metrics.json").read_text()) for folder in (model_dir, expected_dir)
    )
    assert metrics["num_examples"] == NUM_EVAL_BOXES
    assert_close(metrics, expected, **tolerances)


def assert_same_history(model_dir, expected_dir, **tolerances):
    rows, expected_rows = read_history(model_dir), read_history(expected_dir)
    assert len(rows) == len(expected_rows)
    for row, expected in zip(rows, expected_rows, strict=True):
        assert_close(row, expected, **tolerances)


def assert_close(metrics, expected, tolerance=1e-4, iou_tolerance=1e-4):
    # Of several processes none has the counts of all images, which the interval is made of.
    for name in expected.keys() - {"mean_iou_low", "mean_iou_high"}:
        value, allowed = expected[name], tolerance if name in LOSSES else iou_tolerance
        assert metrics[name] == pytest.approx(value, abs=allowed), f"{name} of {metrics}"


def assert_same_weights(model_dir, expected_dir, tolerance):
    weights, expected = (
        load_file(folder / "best" / "model.safetensors") for folder in (model_dir, expected_dir)
    )
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(weights[name], value, atol=tolerance, err_msg=name)


@pytest.mark.slow
def test_two_devices_train_as_one(launcher):
    one = launcher.write_config("one", "one_device", epochs=2)
    two = launcher.write_config("two", "mirrored", epochs=2)
    (output,) = finish([launcher.start("--fit_only", one, two, devices=2)])
    assert output.startswith("strategy one_device: 1 replica\n")
    assert "\nstrategy mirrored: 2 replicas\n" in output
    assert_same_history(launcher.folder / "two", launcher.folder / "one")
    assert_same_weights(launcher.folder / "two", launcher.folder / "one", 1e-4)


@pytest.fixture(scope="module")
def one_device(launcher):
    """A function: precision -> the folder of the training on one device."""

    @functools.cache
    def train(precision):
        return launcher.train(f"one_{precision}", "one_device", precision=precision)

    return train


# bfloat16 holds three digits. After AdamW, which scales gradients to one size, pixels near a tie of
# two classes go either way: a network of three epochs has many of them.
BFLOAT16 = {"tolerance": 1e-2, "iou_tolerance": 6e-2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "precision", "tolerances"),
    [(4, "float32", {}), (2, "mixed_bfloat16", BFLOAT16)],
)
def test_several_devices_train_as_one(launcher, one_device, devices, precision, tolerances):
    name = f"mirrored_{devices}_{precision}"
    model_dir = launcher.train(name, "mirrored", devices=devices, precision=precision)
    assert_same_training(model_dir, one_device(precision), **tolerances)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "tolerances"), [("float32", {}), ("mixed_bfloat16", BFLOAT16)]
)
def test_two_processes_train_as_one(launcher, one_device, precision, tolerances):
    name = f"workers_{precision}"
    chief, other = finish(launcher.start_workers(name, precision=precision))
    assert chief.startswith("strategy multi_worker: 2 replicas, this is worker 0 of 2\n")
    assert other.startswith("strategy multi_worker: 2 replicas, this is worker 1 of 2\n")
    assert_same_training(launcher.folder / name, one_device(precision), **tolerances)


@pytest.mark.slow
def test_the_chief_alone_writes_and_others_can_go_on(launcher, one_device, hub_server, monkeypatch):
    """The SavedModel of two processes serves, and one device resumes what they began."""
    monkeypatch.setenv("HF_ENDPOINT", hub_server.url)
    hub = HubConfig(push_to_hub=True, hub_strategy="every_save")
    processes = launcher.start_workers("written", run={"export": True}, hub=hub)
    chief, other = finish(processes)
    assert "uploaded to" in chief
    assert "Hub" not in other
    assert hub_server.commits[-1].startswith("Best weights")
    assert hub_server.commits == list(dict.fromkeys(hub_server.commits))
    assert int(chief.splitlines()[-1].split()[0]) > 10
    assert other.splitlines()[-1] == "0 changes in the model_dir"
    model_dir = launcher.folder / "written"
    logs = [path.name for path in (model_dir / "tensorboard").rglob("events*")]
    assert logs
    assert all(f".{processes[0].pid}." in name for name in logs)
    assert {path.name for path in (model_dir / "checkpoints").iterdir()} == {
        "checkpoint",
        *(f"ckpt-{epoch}.{part}" for epoch in (2, 3) for part in PARTS),
    }
    served = tf.saved_model.load(str(model_dir / "saved_model" / "1"))
    assert "serving_default" in served.signatures
    before = read_history(model_dir)
    launcher.train("written", "one_device")
    assert read_history(model_dir) == before
    assert_same_training(model_dir, one_device("float32"))


PARTS = ("index", "data-00000-of-00001")


@pytest.mark.slow
def test_executions_of_several_steps_end_at_the_last_step(launcher):
    options = {"train_steps": 8, "run": {"eval_every": 2}}
    one = launcher.train("steps_one", "one_device", **options)
    options["run"]["steps_per_execution"] = 2
    two = launcher.train("steps_two", "mirrored", devices=2, **options)
    assert [row["step"] for row in read_history(two)] == [6, 8]
    assert_same_training(two, one)


@pytest.fixture(scope="module")
def long_training(launcher):
    """A function: number of epochs -> the folder of such a training on one device."""
    return functools.cache(lambda epochs: launcher.train("whole", "one_device", epochs=epochs))


def resume_on_workers(launcher, name, epochs):
    outputs = finish(launcher.start_workers(name, epochs=epochs))
    assert all("resumed from" in output for output in outputs)


def resume_on_one_device(launcher, name, epochs):
    path = launcher.write_config(name, "one_device", epochs=epochs)
    (output,) = finish([launcher.start(path)])
    assert "resumed from" in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "resume"),
    [(0, resume_on_workers), (1, resume_on_workers), (1, resume_on_one_device)],
)
def test_a_killed_worker_ends_the_others_and_the_same_command_resumes(
    launcher, long_training, victim, resume
):
    """Another number of replicas goes on as well."""
    name, epochs = f"killed_{victim}_{resume.__name__}", 12
    reference = long_training(epochs)
    processes = launcher.start_workers(name, epochs=epochs)
    try:
        wait_for(launcher.folder / name / "checkpoints" / "ckpt-2.index")
        processes[victim].kill()
        survivor = processes[1 - victim]
        _, errors = survivor.communicate(timeout=60)
    finally:
        for process in processes:
            process.kill()
    assert survivor.returncode == 1
    assert errors.count("error: another worker has ended or cannot be reached") == 1
    assert errors.splitlines()[-1].endswith("continue from the last checkpoint")
    assert "Traceback" not in errors
    done = len(read_history(launcher.folder / name))
    assert 1 <= done < epochs
    resume(launcher, name, epochs)
    assert_same_training(launcher.folder / name, reference, tolerance=1e-3, iou_tolerance=1e-2)


def wait_for(path, seconds=240):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_batch_that_the_devices_do_not_divide_is_refused(launcher):
    path = launcher.write_config("refused", "mirrored", train_batch_size=6)
    process = launcher.start(path, devices=4)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == (
        "error: --train_batch_size=6 cannot be divided equally among 4 replicas; "
        "the nearest sizes that can are 4 and 8"
    )
    assert not (launcher.folder / "refused").exists()
