"""A tf.data service on this machine, started with the commands of docs/devices.md."""

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from tests.hosts import find_free_ports
from tfseg import network

PAGE = (Path(__file__).parents[1] / "docs" / "devices.md").read_text()


class Service:
    """The dispatcher and the two input workers of docs/devices.md, on free ports."""

    def __init__(self, num_workers=2):
        (block,) = re.findall(r"<!-- command: input_workers -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
        documented = sorted(set(re.findall(r"50\d\d", block)))
        self.ports = dict(zip(documented, find_free_ports(len(documented)), strict=True))
        block = re.sub(r"50\d\d", lambda match: str(self.ports[match[0]]), block)
        self.commands = block.strip().splitlines()
        self.processes = [self.start(index) for index in range(1 + num_workers)]

    @property
    def address(self):
        return f"grpc://localhost:{self.ports['5050']}"

    def start(self, index):
        command = [sys.executable, *shlex.split(self.commands[index])[1:]]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until(lambda: network.port_answers(f"localhost:{list(self.ports.values())[index]}"))
        return process

    def end(self):
        for process in self.processes:
            process.kill()

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
