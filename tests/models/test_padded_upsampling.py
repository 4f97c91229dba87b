"""Logits in one padded shape equal each image's own resize."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.data.transforms import resize_logits
from tfseg.models.padded_upsampling import resize_rows

SIZES = [(64, 96), (17, 90), (1, 1), (30, 9), (0, 0)]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_bands_of_rows_equal_resizing_each_image(jit_compile):
    logits = tf.random.stateless_normal((len(SIZES), 16, 24, 5), (1, 2))
    resize = tf.function(resize_rows, jit_compile=jit_compile)
    bands = [
        resize(logits, tf.constant(SIZES), first_row=first_row, num_rows=23, width=96)
        for first_row in (0, 23, 46)
    ]
    padded = tf.concat(bands, axis=1)
    assert padded.shape == (len(SIZES), 69, 96, 5)
    for index, (height, width) in enumerate(SIZES[:-1]):
        expected = resize_logits(logits[index, None], (height, width))[0]
        np.testing.assert_allclose(padded[index, :height, :width], expected, atol=2e-6)
    assert np.isfinite(padded).all(), "places beyond an image, and images without a pixel"
