"""`--help` lists the flags by section in the order of the fields; absl's own flags keep working."""

import dataclasses
import re
import subprocess
import sys

import pytest

from tfseg.config import (
    DataConfig,
    DemoConfig,
    EvalRunConfig,
    ExportConfig,
    HubConfig,
    ModelConfig,
    PredictConfig,
    PushConfig,
    RunConfig,
    TrainDataConfig,
    TrainingConfig,
)

SECTIONS = {
    "train": {
        "data": DataConfig,
        "training data": TrainDataConfig,
        "model": ModelConfig,
        "training": TrainingConfig,
        "run": RunConfig,
        "hub": HubConfig,
    },
    "eval": {"run": EvalRunConfig, "data": DataConfig},
    "predict": {"prediction": PredictConfig},
    "export": {"export": ExportConfig},
    "demo": {"demo": DemoConfig},
    "push": {"push": PushConfig},
}


@pytest.fixture(scope="module", params=SECTIONS)
def entry(request):
    return request.param


@pytest.fixture(scope="module")
def process(entry, run_entry):
    return run_entry(entry, "--help")


def blocks(text):
    """Yields (heading, flags) for each section, the text of a flag in one line."""
    for block in text.split("\n\n"):
        heading, _, body = block.partition(":\n")
        if body:
            flags = re.split(r"^  (?=-)", body, flags=re.M)[1:]
            yield heading, [" ".join(flag.split()) for flag in flags]


def test_each_heading_is_followed_by_its_fields_in_order(entry, process):
    listed = [
        (heading, [re.match(r"--(?:\[no\])?(\w+): ", flag).group(1) for flag in flags])
        for heading, flags in blocks(process.stdout)
    ]
    assert listed == [
        (heading, [field.name for field in dataclasses.fields(section)])
        for heading, section in SECTIONS[entry].items()
    ]


def test_each_flag_states_its_default_or_that_it_is_required(process):
    for _, flags in blocks(process.stdout):
        for flag in flags:
            assert "; default: " in flag or flag.endswith("; required"), flag


def test_help_succeeds_and_opens_with_the_command(entry, process):
    assert process.returncode == 0
    assert process.stderr == ""
    assert f"`python -m tfseg.{entry} --" in process.stdout.splitlines()[0]
    assert "--flagfile=FILE" in process.stdout.splitlines()[-2]


def test_a_flag_states_meaning_unit_allowed_values_and_default(run_entry):
    text = " ".join(run_entry("train", "--helpshort").stdout.split())
    for expected in (
        "--image_size: size in pixels that images are resized to, as height,width or one number "
        "for a square; multiples of 32; default: the data set's own, or in tfseg.eval",
        "--[no]resume: continue from the newest checkpoint in --model_dir; default: true",
        "--label_smoothing: label-smoothing factor of the training loss; at least 0.0 and below "
        "1.0; default: 0.0",
        "selects the best checkpoint; one of val_mean_iou, val_loss; default: val_mean_iou",
        "as smallest,largest; above 0.0; default: 0.5,2.0",
    ):
        assert expected in text


def test_help_loads_no_tensorflow(run_code):
    code = (
        "import sys, runpy; sys.argv[0] = 'train'\n"
        "try: runpy.run_module('tfseg.train', run_name='__main__')\n"
        "except SystemExit: print('loaded', 'tensorflow' in sys.modules)"
    )
    result = run_code(code, "--help")
    assert "--image_size" in result.stdout
    assert result.stdout.endswith("loaded False\n")


def test_helpfull_also_lists_the_flags_of_absl(run_entry):
    text = run_entry("train", "--helpfull").stdout
    for line in ("data:", "training data:", "absl.logging:", "  --flagfile:", "  -v,--verbosity:"):
        assert re.search(f"^{line}", text, re.M), line
    assert text.count("--[no]helpshort:") == text.count("--[no]help:") == 1


def test_only_check_args_parses_and_ends(run_entry):
    assert run_entry("train", "--only_check_args", "--epochs=3").returncode == 0
    wrong = run_entry("train", "--only_check_args", "--epochs=x")
    assert wrong.returncode == 1
    assert "--epochs=x" in wrong.stderr


def test_a_reader_that_stops_early_sees_no_traceback():
    command = [sys.executable, "-m", "tfseg.train", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
