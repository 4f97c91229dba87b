"""The length of a training in epochs."""

import pytest

from tfseg.training.fitting import plan_epochs


@pytest.mark.parametrize(
    ("steps_per_epoch", "total_steps", "spans"),
    [
        (4, 8, [(0, 2, 4)]),
        (4, 10, [(0, 2, 4), (2, 3, 2)]),
        (4, 3, [(0, 1, 3)]),
        (1, 3, [(0, 3, 1)]),
    ],
)
def test_the_epochs_have_exactly_the_steps_of_the_training(steps_per_epoch, total_steps, spans):
    assert plan_epochs(steps_per_epoch, total_steps) == spans
    assert sum((end - start) * steps for start, end, steps in spans) == total_steps
