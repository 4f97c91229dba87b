"""The commands of docs/devices.md parse, and its installation for TPUs runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from tfseg import cli
from tfseg.config import TrainConfig

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "devices.md").read_text()


def commands(marker):
    (block,) = re.findall(rf"<!-- command: {marker} -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    return block.strip().splitlines()


def trainings():
    return [shlex.split(found)[3:] for found in re.findall(r"python -m tfseg\.train[^`\n]*", PAGE)]


@pytest.mark.parametrize("arguments", trainings())
def test_trainings_parse(arguments):
    values = flags.FlagValues()
    cli.define_train_flags(values)
    assert values(["train", *arguments])[1:] == []
    assert cli.config_from_flags(TrainConfig, values) != TrainConfig()


def test_every_shell_block_has_a_marker():
    assert PAGE.count("```sh") == len(re.findall(r"<!-- command: \w+ -->\n```sh", PAGE))


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)]+)\)", PAGE))
def test_links_lead_to_files(target):
    assert (ROOT / "docs" / target).is_file()


def test_the_tf_config_of_the_page_is_read(monkeypatch):
    from tfseg.training import cluster

    export, _ = commands("workers")
    monkeypatch.setenv("TF_CONFIG", shlex.split(export)[1].removeprefix("TF_CONFIG="))
    assert cluster.read_cluster() == cluster.Cluster(("10.0.0.1:2222", "10.0.0.2:2222"), 0)


@pytest.mark.slow
def test_the_installation_for_a_tpu_ends_in_a_training(tmp_path):
    """In a fresh environment; the training runs on the CPU, in TensorFlow for TPUs."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    (command,) = commands("tpu_install")
    python = tmp_path / "env" / "bin" / "python"
    run([python, "-m", *shlex.split(command)], ROOT)
    code = "import tfseg, tfseg.models as m, tensorflow as tf; m.load_model; print(tf.__version__)"
    assert run([python, "-c", code], tmp_path).splitlines()[-1].startswith("2.20.")
    small = "--max_train_examples=8 --max_eval_examples=4 --epochs=1 --train_batch_size=4"
    run([python, "-m", "tfseg.train", "--dataset=shapes", *small.split()], tmp_path)
    assert (tmp_path / "runs" / "shapes" / "saved_model" / "1" / "saved_model.pb").stat().st_size


def run(command, folder):
    # Without this variable a machine that is no TPU VM may wait for Google Cloud's metadata server.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TPU_SKIP_MDS_QUERY": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
