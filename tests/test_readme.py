"""The README's commands and code are taken from the README and run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from tfseg import cli
from tfseg.config import DoctorConfig, EvalConfig, ExportConfig, PredictConfig, TrainConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ENTRIES = {
    "train": (cli.define_train_flags, TrainConfig),
    "doctor": (cli.define_doctor_flags, DoctorConfig),
    "eval": (cli.define_eval_flags, EvalConfig),
    "predict": (cli.define_predict_flags, PredictConfig),
    "export": (cli.define_export_flags, ExportConfig),
}


def commands(marker):
    (block,) = re.findall(rf"<!-- command: {marker} -->\n```sh\n(.*?)```", README, re.DOTALL)
    return block.strip().splitlines()


def tfseg_commands():
    for marker in re.findall(r"<!-- command: (\w+) -->", README):
        for command in commands(marker):
            for part in command.split("&&"):
                words = shlex.split(part)
                if words[:2] == ["python", "-m"] and words[2].startswith("tfseg."):
                    yield words[2].removeprefix("tfseg."), words[3:]


def test_every_shell_block_has_a_marker():
    assert README.count("```sh") == len(re.findall(r"<!-- command: \w+ -->\n```sh", README))


@pytest.mark.parametrize(("entry", "arguments"), list(tfseg_commands()))
def test_commands_parse(entry, arguments):
    define, config_class = ENTRIES[entry]
    values = flags.FlagValues()
    define(values)
    values([entry, *arguments])
    assert cli.config_from_flags(config_class, values) is not None


def test_the_two_set_up_commands_start_from_a_fresh_environment():
    for marker in ("run", "test"):
        (command,) = commands(marker)
        assert command.startswith("python3 -m venv .venv && . .venv/bin/activate && pip install ")


def test_ci_runs_the_readmes_commands():
    script = (ROOT / ".ci" / "run").read_text()
    for marker in ("run", "test"):
        extracted = subprocess.run(
            ["bash", "-c", _function(script, "readme_command") + f"\nreadme_command {marker}"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        ).stdout.strip()
        assert [extracted] == commands(marker)
        assert f"readme_command {marker})" in script


def _function(script, name):
    return re.search(rf"^{name}\(\) {{\n.*?^}}\n", script, re.DOTALL | re.MULTILINE).group()


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)]+)\)", README))
def test_links_lead_to_files(target):
    assert (ROOT / target).is_file()


@pytest.mark.slow
def test_the_way_from_training_to_prediction(tmp_path):
    """Runs the README's commands in their order, training with a small budget."""
    _write_photos(tmp_path)
    environment_free = [part.strip() for part in commands("run")[0].split("&&")][-1]
    small = " --max_train_examples=32 --max_eval_examples=8 --epochs=1 --train_batch_size=8"
    for command in [environment_free + small, *commands("use")]:
        words = [sys.executable, *shlex.split(command)[1:]]
        result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stderr
    for written in (
        "runs/shapes/report/index.html",
        "runs/shapes/saved_model/1/saved_model.pb",
        "predictions/one_classes.png",
        "predictions/two_overlay.png",
        "serving_models/shapes/1/saved_model.pb",
    ):
        assert (tmp_path / written).stat().st_size > 0
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        for full, small in (("epochs=20", "epochs=1"), ("split, None)", "split, 16)")):
            code = code.replace(full, small)
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert result.returncode == 0, result.stderr


def _write_photos(folder):
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for path, size in (("photos/two.png", (50, 70)), ("one.jpg", (64, 40))):
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(folder / path)
