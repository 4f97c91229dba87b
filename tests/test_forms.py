"""The steps lower for a GPU on a machine that has none, and the training step has no loop."""

import pytest

from tests.benchmarks import tpu_programs

SHAPE = {"batch_size": 2, "image_size": 64, "num_classes": 7, "is_tiny": True}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("program", "loops"),
    # Serving takes blocks of rows in a loop, which runs once for a few images.
    [("train", 0), ("train_with_dropout", 0), ("evaluate", 0), ("serve", 1)],
)
def test_the_steps_lower_for_a_gpu(program, loops, precision):
    text = tpu_programs.lower(program, "GPU", **SHAPE, precision=precision)
    assert "ENTRY" in text
    assert text.count(" while(") == loops
