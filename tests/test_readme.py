"""Commands and code of the README and of the pages that it leads to are taken from them and run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from tfseg import cli
from tfseg.config import (
    DemoConfig,
    DoctorConfig,
    EvalConfig,
    ExportConfig,
    PredictConfig,
    PushConfig,
    TrainConfig,
)

ROOT = Path(__file__).parents[1]
PAGES = {
    name: (ROOT / name).read_text()
    for name in ("README.md", "docs/data.md", "docs/use.md", "docs/speed.md")
}
README = PAGES["README.md"]
MAX_README_LINES = 170
ENTRIES = {
    "train": (cli.define_train_flags, TrainConfig),
    "doctor": (cli.define_doctor_flags, DoctorConfig),
    "eval": (cli.define_eval_flags, EvalConfig),
    "predict": (cli.define_predict_flags, PredictConfig),
    "export": (cli.define_export_flags, ExportConfig),
    "demo": (cli.define_demo_flags, DemoConfig),
    "push": (cli.define_push_flags, PushConfig),
}


def commands(marker, page="README.md"):
    (block,) = re.findall(rf"<!-- command: {marker} -->\n```sh\n(.*?)```", PAGES[page], re.DOTALL)
    return block.strip().splitlines()


def tfseg_commands():
    for page, text in PAGES.items():
        for marker in re.findall(r"<!-- command: (\w+) -->", text):
            for command in commands(marker, page):
                for part in command.split("&&"):
                    words = shlex.split(part)
                    if words[:2] == ["python", "-m"] and words[2].startswith("tfseg."):
                        yield words[2].removeprefix("tfseg."), words[3:]


@pytest.mark.parametrize("text", PAGES.values(), ids=PAGES)
def test_every_shell_block_has_a_marker(text):
    assert text.count("```sh") == len(re.findall(r"<!-- command: \w+ -->\n```sh", text))


def test_the_readme_is_short():
    assert len(README.splitlines()) <= MAX_README_LINES


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


LINKS = [
    (page, target)
    for page, text in PAGES.items()
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text)
]


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_links_lead_to_files(page, target):
    assert (ROOT / page).parent.joinpath(target).is_file()


@pytest.mark.slow
def test_the_way_from_training_to_prediction(tmp_path):
    """Runs the README's commands in their order, training with a small budget."""
    _write_photos(tmp_path)
    environment_free = [part.strip() for part in commands("run")[0].split("&&")][-1]
    small = " --max_train_examples=32 --max_eval_examples=8 --epochs=1 --train_batch_size=8"
    uses = commands("use") + commands("use", "docs/use.md")
    for command in [environment_free + small, *uses]:
        words = [sys.executable, *shlex.split(command)[1:]]
        result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stderr
    for written in (
        "runs/shapes/report/index.html",
        "runs/shapes/saved_model/1/saved_model.pb",
        "predictions/one_classes.png",
        "predictions/two_overlay.png",
        "predictions/two_ids.png",
        "serving_models/shapes/1/saved_model.pb",
    ):
        assert (tmp_path / written).stat().st_size > 0
    for code in re.findall(r"```python\n(.*?)```", README + PAGES["docs/use.md"], re.DOTALL):
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
    sizes = {"photos/two.png": (50, 70), "one.jpg": (64, 40), "more/three.jpg": (40, 60)}
    for path, size in sizes.items():
        (folder / path).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(folder / path)
