"""CONTRIBUTING.md: its commands are run or collected, its files exist; the hooks fit setup.cfg."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.test_requirements import requirements

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
COMMANDS = [
    command
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for command in block.splitlines()
    if not command.startswith("#")
]
SET_UP = 'python3 -m venv .venv && . .venv/bin/activate && pip install -e ".[test]"'
# What is added so that a command ends within seconds: pytest collects, a benchmark checks its
# flags, and ruff shows what it would change. One file is enough to see that `-m slow` selects.
ADDED = {
    "python -m pytest tests/data -n 0": "--collect-only -q",
    "ruff check .": "",
    "ruff format .": "--check",
    "python -m pytest": "--collect-only -q -n 0 tests/test_readme.py",
    "python -m pytest -m slow": "--collect-only -q -n 0 tests/test_readme.py",
    "python -m tests.benchmarks.train_step": "--only_check_args",
}


def test_it_fits_on_a_screen():
    assert len(TEXT.splitlines()) <= 40
    assert max(map(len, TEXT.splitlines())) <= 120


def test_every_command_is_checked():
    assert COMMANDS[0] == SET_UP
    assert sorted(COMMANDS[1:]) == sorted(ADDED)


def test_the_set_up_is_that_of_the_readme():
    """CI runs the README's command in a fresh environment."""
    assert SET_UP in (ROOT / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("command", ADDED)
def test_the_commands_run(command):
    words = shlex.split(f"{command} {ADDED[command]}")
    words[:1] = [sys.executable] if words[0] == "python" else [sys.executable, "-m", words[0]]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_named_files_exist():
    names = re.findall(r"`([\w./]*/[\w./]*|\.pre-commit-config\.yaml)`", TEXT)
    assert len(names) > 10
    for name in names:
        assert (ROOT / name).exists(), name


def test_the_hooks_are_those_of_a_ruff_that_setup_cfg_allows():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (repository,) = config["repos"]
    assert repository["repo"] == "https://github.com/astral-sh/ruff-pre-commit"
    assert [hook["id"] for hook in repository["hooks"]] == ["ruff-check", "ruff-format"]
    ruff = requirements("options.extras_require", "test")["ruff"]
    assert ruff.specifier.contains(repository["rev"].removeprefix("v"))
