"""Trainings whose batches come from a tf.data service, with every process on its own."""

import csv
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import make_boxes_config
from tests.hosts import find_closed_url
from tests.input_service import Service, wait_until
from tfseg.config import TrainDataConfig, serialization
from tfseg.data import data_service
from tfseg.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def service():
    service = Service()
    yield service
    service.end()


@pytest.fixture
def start(boxes_dir, plain_model_dir, tmp_path):
    """A function (name, data_service, **training) that starts a training in `<tmp_path>/<name>`."""

    def start(name, data_service, *, tf_config=None, **training):
        config = make_boxes_config(boxes_dir, plain_model_dir, tmp_path / name, **training)
        train_data = TrainDataConfig(data_service=data_service)
        run = dataclasses.replace(config.run, export=False)
        config = dataclasses.replace(config, train_data=train_data, run=run)
        path = tmp_path / f"{name}.json"
        path.write_text(serialization.to_json(config))
        command = [sys.executable, "-m", "tests.training.distributed_run", "1", path]
        environment = {**os.environ, "TF_CONFIG": json.dumps(tf_config) if tf_config else ""}
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def finish(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, output + errors


def read_history(folder):
    with open(folder / "history.csv") as file:
        rows = list(csv.DictReader(file))
    return [[float(row[name]) for name in ("step", "loss", "val_loss")] for row in rows]


def end(process):
    """Waits for a training that must fail within a minute with one line."""
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert "the dispatcher or an input worker has ended, does not answer or was restarted" in line
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.parametrize("event", ["kill", "restart"])
def test_an_input_worker_that_ends_ends_the_training_and_the_same_command_resumes(
    service, start, tmp_path, event
):
    finish(start("without", None, epochs=12))
    process = start("with", service.address, epochs=12)
    wait_for_checkpoint(tmp_path / "with", process)
    getattr(service, event)(1)
    end(process)
    for index in range(3):
        service.restart(index)
    finish(start("with", service.address, epochs=12))
    np.testing.assert_allclose(
        read_history(tmp_path / "with"), read_history(tmp_path / "without"), rtol=1e-3
    )


@pytest.mark.slow
def test_an_input_worker_that_was_not_started():
    service = Service(num_workers=1)
    with pytest.raises(UserError, match="1 of 2 of its input workers answered within 10 seconds"):
        data_service.count_input_workers(service.address, seconds=10)
    service.end()


@pytest.mark.slow
def test_a_dispatcher_that_ends_ends_the_training(service, start, tmp_path):
    process = start("with", service.address, epochs=2000)
    wait_for_checkpoint(tmp_path / "with", process)
    service.kill(0)
    end(process)


@pytest.mark.slow
def test_two_trainings_that_share_a_service_train_as_one_without(service, start, tmp_path):
    finish(start("without", None))
    ports = [find_closed_url().rpartition(":")[2] for _ in range(2)]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    for process in [
        start("with", service.address, tf_config={"cluster": cluster, "task": task})
        for task in ({"type": "worker", "index": index} for index in range(2))
    ]:
        finish(process)
    np.testing.assert_allclose(
        read_history(tmp_path / "with"), read_history(tmp_path / "without"), rtol=1e-3
    )


def wait_for_checkpoint(folder, process):
    written = folder / "checkpoints" / "checkpoint"
    wait_until(lambda: written.exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
