"""Two devices score as one: the same figures, and each image's counts under its own name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import NUM_EVAL_BOXES
from tfseg.config import DataConfig, EvalConfig, EvalRunConfig
from tfseg.evaluation.run import run_evaluation

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["CPU", "GPU"])
@pytest.mark.parametrize("batch_size", [2, 4])
def test_two_devices_score_as_one(boxes_run, boxes_dir, tmp_path, form, batch_size):
    """Five images: with batches of 4 the last one leaves a device without an image."""
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    model, dataset = str(boxes_run[0] / "best"), f"folder:{boxes_dir}"
    run_evaluation(EvalConfig(EvalRunConfig(model, output=str(one)), DataConfig(dataset=dataset)))
    flags = [f"--model={model}", f"--dataset={dataset}", f"--output={two}"]
    flags += [f"--eval_batch_size={batch_size}", f"--save_predictions={tmp_path / 'masks'}"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.evaluation.distributed_evaluation", form, *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    values, expected = (json.loads(path.read_text()) for path in (two, one))
    images, expected_images = values.pop("images"), expected.pop("images")
    assert list(images) == list(expected_images)
    assert values.pop("classes") == expected.pop("classes")
    assert values == pytest.approx(expected, abs=1e-3)
    for name, counts in images.items():
        for class_id, numbers in expected_images[name].items():
            assert counts[class_id] == pytest.approx(numbers, abs=2)  # ties
    assert len(list((tmp_path / "masks").iterdir())) == NUM_EVAL_BOXES
