"""Ways to start a program of its own, because absl parses its flags once per process."""

import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def run_entry():
    """A function (name, *arguments) -> the completed process of `python -m tfseg.NAME`."""

    def run(name, *arguments):
        return _run(["-m", f"tfseg.{name}", *arguments])

    return run


@pytest.fixture(scope="session")
def run_code():
    """A function (code, *arguments) -> the completed process of `python -c CODE`."""

    def run(code, *arguments):
        return _run(["-c", code, *arguments])

    return run


def _run(words):
    command = [sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
