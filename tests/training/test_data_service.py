"""Trainings whose batches come from a tf.data service, with every process on its own."""

import csv
import dataclasses
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import make_boxes_config
from tests.hosts import find_closed_url
from tfseg import network
from tfseg.config import TrainDataConfig, serialization

ROOT = Path(__file__).parents[2]
EPOCHS = 40  # takes longer than noticing that the dispatcher has ended
PAGE = (ROOT / "docs" / "devices.md").read_text()


class Service:
    """The dispatcher and the two input workers of docs/devices.md, on free ports."""

    def __init__(self):
        (block,) = re.findall(r"<!-- command: input_workers -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
        self.ports = {}
        for port in sorted(set(re.findall(r"50\d\d", block))):
            self.ports[port] = find_closed_url().rpartition(":")[2]
            block = block.replace(port, self.ports[port])
        self.commands = block.strip().splitlines()
        self.processes = [self.start(index) for index in range(3)]

    @property
    def address(self):
        return f"grpc://localhost:{self.ports['5050']}"

    def start(self, index):
        command = [sys.executable, *shlex.split(self.commands[index])[1:]]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until(lambda: network.port_answers(f"localhost:{list(self.ports.values())[index]}"))
        return process

    def kill(self, index):
        self.processes[index].kill()
        self.processes[index].wait()

    def restart(self, index):
        self.kill(index)
        self.processes[index] = self.start(index)


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def service():
    service = Service()
    yield service
    for process in service.processes:
        process.kill()


@pytest.fixture
def start(boxes_dir, plain_model_dir, tmp_path):
    """A function (name, data_service, **training) that starts a training in `<tmp_path>/<name>`."""

    def start(name, data_service, **training):
        config = make_boxes_config(boxes_dir, plain_model_dir, tmp_path / name, **training)
        train_data = TrainDataConfig(data_service=data_service)
        config = dataclasses.replace(config, train_data=train_data)
        path = tmp_path / f"{name}.json"
        path.write_text(serialization.to_json(config))
        command = [sys.executable, "-m", "tests.training.distributed_run", "1", "--fit_only", path]
        return subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def finish(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, output + errors


def read_history(folder):
    with open(folder / "history.csv") as file:
        return [(row["step"], row["loss"], row["val_loss"]) for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.parametrize("event", ["kill 0", "kill 1", "restart 2"])
def test_a_service_that_ends_ends_the_training_and_the_same_command_resumes(
    service, start, tmp_path, event
):
    finish(start("without", None, epochs=EPOCHS))
    process = start("with", service.address, epochs=EPOCHS)
    written = tmp_path / "with" / "checkpoints" / "checkpoint"
    wait_until(lambda: written.exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    verb, index = event.split()
    getattr(service, verb)(int(index))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: --data_service={service.address}: the dispatcher or an input")
    assert "Traceback" not in errors
    for each in range(3):
        service.restart(each)
    finish(start("with", service.address, epochs=EPOCHS))
    assert read_history(tmp_path / "with") == read_history(tmp_path / "without")
