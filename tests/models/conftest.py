"""Fixtures: the stored PyTorch model as arrays and as a folder, and random weights."""

import json
import pathlib

import numpy as np
import pytest

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

REFERENCE_FILE = pathlib.Path(__file__).parents[1] / "reference" / "pytorch_segformer.npz"


@pytest.fixture(scope="session")
def reference():
    """Config, weights, images, masks, logits, losses and gradients of a tiny PyTorch SegFormer."""
    with np.load(REFERENCE_FILE) as archive:
        return dict(archive)


@pytest.fixture(scope="session")
def reference_state(reference):
    """The PyTorch model's state dict."""
    prefix = "weight/"
    return {
        name.removeprefix(prefix): array
        for name, array in reference.items()
        if name.startswith(prefix)
    }


@pytest.fixture(scope="session")
def write_folder(reference):
    """Writes a checkpoint folder: `write_folder(folder, state, **config changes)`."""
    from safetensors.numpy import save_file

    def write(folder, state, **changes):
        folder.mkdir(parents=True, exist_ok=True)
        config = {**json.loads(str(reference["config"])), **changes}
        (folder / "config.json").write_text(json.dumps(config))
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return write


@pytest.fixture(scope="session")
def reference_dir(write_folder, reference_state, tmp_path_factory):
    """The PyTorch model as a folder: `config.json` and PyTorch-layout `model.safetensors`."""
    return write_folder(tmp_path_factory.mktemp("models") / "pytorch", reference_state)


@pytest.fixture(scope="session")
def randomize():
    """Draws every weight of a network, including norms, biases and running statistics."""

    def draw(network, seed=0):
        rng = np.random.default_rng(seed)
        for variable in network.variables:
            shape = tuple(variable.shape)
            if variable.name.endswith("moving_variance:0"):
                variable.assign(rng.uniform(0.5, 1.5, shape))
                continue
            fan_in = np.prod(shape[:-1]) if len(shape) > 1 else 25
            center = 1.0 if variable.name.endswith("gamma:0") else 0.0
            variable.assign(center + rng.normal(0, fan_in**-0.5, shape))

    return draw
