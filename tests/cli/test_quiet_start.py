"""The libraries' messages are limited, and what the user set stays."""

import os

import pytest

from tfseg.cli import quiet_start


def test_the_environment_limits_libraries_but_keeps_what_the_user_set(monkeypatch):
    monkeypatch.setattr(os, "environ", {"TF_CPP_MIN_LOG_LEVEL": "0"})
    quiet_start.set_environment()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert os.environ["GRPC_VERBOSITY"] == "ERROR"
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "error"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], ["warning", "error"]),
        (["--verbosity=1"], ["debug", "info", "warning", "error"]),
        (["--verbosity=-2"], ["error"]),
    ],
)
def test_the_log_of_absl(run_code, arguments, shown):
    code = """
from absl import logging
from tfseg import cli
def main(argv):
    for name in ("debug", "info", "warning", "error"):
        getattr(logging, name)("level %s", name)
cli.run(main)
"""
    result = run_code(code, *arguments)
    assert result.returncode == 0
    assert [line.split()[-1] for line in result.stderr.splitlines() if "level" in line] == shown
