"""Initial weights depend on the seed alone and have the published standard deviations."""

import math

import numpy as np
import pytest

from tfseg.data.labels import LabelSpec
from tfseg.models.segformer import build_model

LABELS = LabelSpec(("sky", "road", "tree", "car", "person"))


def draw(seed):
    """Returns weights of a B0 by name, without the name of the network, which Keras numbers."""
    variables = build_model(LABELS, (64, 64), seed=seed).network.variables
    return {variable.name.split("/", 1)[1]: variable.numpy() for variable in variables}


@pytest.fixture(scope="module")
def weights():
    return draw(seed=0)


def test_the_same_seed_gives_the_same_weights_in_a_second_model(weights):
    again = draw(seed=0)
    assert again.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)


def test_another_seed_gives_other_kernels(weights):
    other = draw(seed=1)
    for name, array in weights.items():
        if name.endswith("/kernel:0"):
            assert np.abs(other[name] - array).max() > 0, name


def test_kernels_of_one_shape_differ_from_layer_to_layer(weights):
    prefix = "segformer/encoder/block.0.0/attention/self/"
    query, key = (weights[f"{prefix}{name}/kernel:0"] for name in ("query", "key"))
    assert np.abs(query - key).max() > 0.01


def test_biases_are_zero_and_norms_one(weights):
    starts = {"bias": 0, "beta": 0, "gamma": 1, "moving_mean": 0, "moving_variance": 1}
    others = {name: array for name, array in weights.items() if not name.endswith("/kernel:0")}
    assert len(others) > 100
    for name, array in others.items():
        kind = name.rsplit("/", 1)[1].removesuffix(":0")
        assert np.all(array == starts[kind]), name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("segformer/encoder/block.3.0/mlp/dense1", 0.02),
        ("decode_head/linear_c.3/proj", 0.02),
        ("decode_head/classifier", 0.01),
        # He's normal over the fan-out: 7 * 7 * 32, 3 * 3 * 256, and 3 * 3 per group.
        ("segformer/encoder/patch_embeddings.0/proj", math.sqrt(2 / (49 * 32))),
        ("segformer/encoder/patch_embeddings.3/proj", math.sqrt(2 / (9 * 256))),
        ("segformer/encoder/block.3.0/mlp/dwconv/dwconv", math.sqrt(2 / 9)),
        ("segformer/encoder/block.0.0/attention/self/sr", math.sqrt(2 / (64 * 32))),
        ("decode_head/linear_fuse", math.sqrt(2 / 256)),
    ],
)
def test_deviation_of_each_kind(weights, name, expected):
    kernel = weights[f"{name}/kernel:0"]
    # A truncated normal of deviation s, cut at 2 s, has a deviation of 0.88 s.
    expected *= 0.8796 if expected == 0.02 else 1
    tolerance = 5 / math.sqrt(2 * kernel.size)
    assert kernel.std() == pytest.approx(expected, rel=tolerance)
    assert abs(kernel.mean()) < 5 * expected / math.sqrt(kernel.size)
