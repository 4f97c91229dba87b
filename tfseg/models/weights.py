"""A SegFormer's weights: read from PyTorch's and TensorFlow's files, and in PyTorch's layout.

The files are read here and not by transformers' `from_pretrained`, because that silently reshapes
a weight of another shape with as many numbers, draws a fresh head that no seed repeats, needs to
be told of `pytorch_model.bin`, and reports damaged files and other sizes with errors that name
neither the file nor the weight. (Tried with 4.53.3; names and transpositions are transformers'.)
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
    """Loads a folder's weights into a built network.

    Args:
        network: Takes the weights; what the folder lacks keeps its values.
        folder: Holds `model.safetensors` in either layout, `tf_model.h5` or `pytorch_model.bin`.
        allow_fresh_head: The decode head may be missing, or be for another number of classes.

    Raises:
        UserError: No weights, damaged ones, or some are missing or of another shape that may not.
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
    """Reads the first weight file there is, under PyTorch's names and in its layout."""
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
    # An encoder saved alone lacks the prefix.
    return {f"segformer.{name}": array for name, array in state.items()}


def _read_safetensors(path: epath.Path) -> dict[str, np.ndarray]:
    with safe_open(path, framework="np") as archive:
        state = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
        is_pytorch = (archive.metadata() or {}).get("format") != "tf"
    # TensorFlow's lack the network's own name, which a variable's has.
    return state if is_pytorch else _to_pytorch({f"/{name}": state[name] for name in state})


def _read_h5(path: epath.Path) -> dict[str, np.ndarray]:
    import h5py

    arrays = {}

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            # A variable's name comes after its layer's.
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
    """Returns every weight under PyTorch's name and in its layout, float32."""
    state = _to_pytorch({variable.name: variable.numpy() for variable in network.variables})
    # PyTorch's batch norm counts batches; nothing reads it while momentum is set.
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
    """Returns PyTorch's name of a TensorFlow variable, and how its array is transposed."""
    name, transpose = pytorch_layout.convert_tf_weight_name_to_pt_weight_name(
        name, tf_weight_shape=shape
    )
    name = name.replace("moving_mean", "running_mean").replace("moving_variance", "running_var")
    return name, transpose


def damaged_file(path: epath.Path, error: Exception) -> UserError:
    """Returns the error to raise for a file that cannot be parsed."""
    reason = str(error).partition("\n")[0]
    return UserError(f"{path} is damaged or incomplete, fetch or save it again: {reason}")
