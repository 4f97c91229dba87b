"""Reads SegFormer weights from PyTorch's and TensorFlow's files, and gives them to PyTorch.

The files are read here and not by transformers' `from_pretrained`, for four reasons (tried with
4.53.3). It silently reshapes a weight that has another shape but as many numbers. It draws a
fresh head that no seed repeats. It reads `pytorch_model.bin` only if it is told to. Its errors
for damaged files and for other shapes name neither the file nor the weight. Names and
transpositions of weights still come from transformers.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
from etils import epath
from safetensors import SafetensorError, safe_open
from transformers import TFSegformerForSemanticSegmentation
from transformers import modeling_tf_pytorch_utils as pytorch_layout

from tfseg.errors import UserError

SAFETENSORS_FILE = "model.safetensors"
WEIGHT_FILES = (SAFETENSORS_FILE, "tf_model.h5", "pytorch_model.bin")
_HEAD = "decode_head."
_CLASSIFIER = "decode_head.classifier."


def load_weights(
    network: TFSegformerForSemanticSegmentation, folder: epath.Path, *, allow_fresh_head: bool
) -> None:
    """Loads the weights of a folder into a built network.

    Args:
        network: Receives the weights; a weight that the folder lacks keeps its value.
        folder: Holds `model.safetensors` in either layout, `tf_model.h5` or `pytorch_model.bin`.
        allow_fresh_head: Accept that weights of the decode head are missing, or that the
            classifier is for another number of classes.

    Raises:
        UserError: There are no weights, a file is damaged, or a weight that is needed is missing
            or has another shape.
    """
    state, wrong = _read_state(folder), []
    for variable in network.variables:
        name, transpose = pytorch_name(variable.name, variable.shape)
        array = pytorch_layout.apply_transpose(transpose, state[name]) if name in state else None
        if array is not None and array.shape == tuple(variable.shape):
            variable.assign(array.astype(np.float32))
        elif not (allow_fresh_head and name.startswith(_HEAD if array is None else _CLASSIFIER)):
            wrong.append(name)
    if wrong:
        raise UserError(
            f"{folder} lacks {len(wrong)} weights of this SegFormer, or holds them in another "
            f"shape, first {wrong[0]!r}: its config.json and its weights do not belong together, "
            "or it is no segmentation checkpoint"
        )


def _read_state(folder: epath.Path) -> dict[str, np.ndarray]:
    """Reads the first weight file that exists; names and layout are PyTorch's."""
    readers = dict(zip(WEIGHT_FILES, (_read_safetensors, _read_h5, _read_pickle), strict=True))
    name = next((name for name in readers if (folder / name).exists()), None)
    if name is None:
        raise UserError(
            f"{folder} holds none of {', '.join(WEIGHT_FILES)}; other or sharded weights: load "
            "them with transformers and save_pretrained(..., safe_serialization=True)"
        )
    try:
        state = readers[name](folder / name)
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise damaged_file(folder / name, error) from error
    if any(name.startswith("segformer.") for name in state):
        return state
    # An encoder that was saved alone lacks the prefix.
    return {f"segformer.{name}": array for name, array in state.items()}


def _read_safetensors(path: epath.Path) -> dict[str, np.ndarray]:
    with safe_open(path, framework="np") as archive:
        state = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
        is_pytorch = (archive.metadata() or {}).get("format") != "tf"
    # TensorFlow's names lack the name of the network, which the names of variables start with.
    return state if is_pytorch else _to_pytorch({f"/{name}": state[name] for name in state})


def _read_h5(path: epath.Path) -> dict[str, np.ndarray]:
    import h5py

    arrays = {}

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            # The name of a variable follows the name of its layer.
            arrays[name.partition("/")[2]] = item[()]

    with h5py.File(path) as archive:
        archive.visititems(collect)
    return _to_pytorch(arrays)


def _read_pickle(path: epath.Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path} is a PyTorch pickle, which takes PyTorch to read: pip install torch, or "
            "convert it to model.safetensors"
        ) from None
    state = torch.load(path, map_location="cpu", weights_only=True)
    # NumPy has no bfloat16.
    return {name: tensor.float().numpy() for name, tensor in state.items()}


def pytorch_state(network: TFSegformerForSemanticSegmentation) -> dict[str, np.ndarray]:
    """Returns every weight as float32 under PyTorch's name and in PyTorch's layout."""
    state = _to_pytorch({variable.name: variable.numpy() for variable in network.variables})
    # PyTorch's batch norm counts batches. Nothing reads the count as long as momentum is set.
    return {**state, "decode_head.batch_norm.num_batches_tracked": np.zeros((), np.int64)}


def _to_pytorch(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turns TensorFlow's variable names and layout into PyTorch's."""
    state = {}
    for tensorflow_name, array in arrays.items():
        name, transpose = pytorch_name(tensorflow_name, array.shape)
        array = pytorch_layout.apply_transpose(transpose, array, pt_to_tf=False)
        state[name] = np.ascontiguousarray(array, np.float32)
    return state


def pytorch_name(name: str, shape: Sequence[int]) -> tuple[str, pytorch_layout.TransposeType]:
    """Returns PyTorch's name for a TensorFlow variable, and how to transpose its array."""
    name, transpose = pytorch_layout.convert_tf_weight_name_to_pt_weight_name(
        name, tf_weight_shape=shape
    )
    name = name.replace("moving_mean", "running_mean").replace("moving_variance", "running_var")
    return name, transpose


def damaged_file(path: epath.Path, error: Exception) -> UserError:
    """Returns the error to raise for a file that cannot be parsed."""
    reason = str(error).partition("\n")[0]
    return UserError(f"{path} is damaged or incomplete, fetch or save it again: {reason}")
