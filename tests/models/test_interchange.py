"""Hugging Face's own lines open a saved folder, in TensorFlow and in PyTorch, with equal logits."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from tfseg.models import segformer


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(2, 64, 96, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(tiny_model_dir, images):
    """The logits of `load_model`, channels first as transformers gives them."""
    model = segformer.load_model(tiny_model_dir)
    return model.quarter_logits(images).numpy().transpose(0, 3, 1, 2)


def channels_first(images):
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def test_tensorflows_auto_class_opens_it(tiny_model_dir, images, expected):
    from transformers import TFAutoModelForSemanticSegmentation

    model = TFAutoModelForSemanticSegmentation.from_pretrained(tiny_model_dir)
    logits = model(tf.constant(channels_first(images)), training=False).logits
    assert expected.std() > 0.1
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-5)
    assert model.config.id2label[0] == "sky"


def test_pytorchs_auto_class_opens_it(tiny_model_dir, images, expected):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForSemanticSegmentation

    model = AutoModelForSemanticSegmentation.from_pretrained(tiny_model_dir)
    assert model.dtype == torch.float32
    with torch.no_grad():
        logits = model(torch.from_numpy(channels_first(images))).logits
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-5)


NEWEST_PROGRAM = """
    import sys
    import numpy as np
    import torch
    import transformers
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    assert int(transformers.__version__.split(".")[0]) >= 5, transformers.__version__
    folder, arrays = sys.argv[1:]
    model, info = AutoModelForSemanticSegmentation.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(info.values()), info
    assert model.dtype == torch.float32
    assert model.config.id2label[0] == "sky"
    size = AutoImageProcessor.from_pretrained(folder).size
    assert (size["height"], size["width"]) == (64, 96), size
    with torch.no_grad():
        logits = model(torch.from_numpy(np.load(arrays))).logits
    np.save(arrays, logits.numpy())
"""


@pytest.mark.slow
def test_transformers_5_opens_it(tiny_model_dir, images, expected, tmp_path):
    pytest.importorskip("torch")
    packages, arrays = tmp_path / "packages", tmp_path / "arrays.npy"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(packages)]
    subprocess.run([*install, "transformers>=5"], check=True)
    np.save(arrays, channels_first(images))
    program = [sys.executable, "-c", textwrap.dedent(NEWEST_PROGRAM), tiny_model_dir, str(arrays)]
    subprocess.run(program, check=True, env={**os.environ, "PYTHONPATH": str(packages)})
    np.testing.assert_allclose(np.load(arrays), expected, atol=1e-4)
