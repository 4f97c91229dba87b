"""SegFormer folders: find, read and write them, in PyTorch's and TensorFlow's layout."""

from __future__ import annotations

import contextlib
import json
import pickle
import tempfile
from collections.abc import Sequence

import numpy as np
from etils import epath
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize
from transformers import SegformerConfig, TFSegformerForSemanticSegmentation
from transformers import modeling_tf_pytorch_utils as pytorch_layout

from tfseg import files
from tfseg.data.labels import DEFAULT_IGNORE_INDEX, LabelSpec
from tfseg.data.transforms import DEFAULT_MEAN, DEFAULT_STD, Preprocessing
from tfseg.errors import UserError

_SAFETENSORS = "model.safetensors"
_WEIGHT_FILES = (_SAFETENSORS, "tf_model.h5", "pytorch_model.bin")
_HUB_TIMEOUT_SECONDS = 5
_HEAD = "decode_head."
_CLASSIFIER = "decode_head.classifier."


def find_folder(path: str, revision: str | None, *, flag: str) -> epath.Path:
    """Returns the local folder of a checkpoint, fetched where `path` is remote or a Hub id.

    Args:
        path: Folder, `gs://` folder or Hub id.
        revision: Branch, tag or commit of a Hub id.
        flag: The flag that `path` came from, for the message.

    Raises:
        UserError: Nothing is there; the message says what was tried.
    """
    folder = epath.Path(path).expanduser()
    if folder.exists():
        if not (folder / "config.json").exists():
            raise UserError(
                f"--{flag}={path} has no config.json: it takes a folder that save_pretrained or "
                "tfseg wrote (a run's best/), or a Hub id"
            )
        return _copy_to_local(folder) if "://" in path else folder
    if path.startswith((".", "/", "~")) or "://" in path or path.count("/") > 1:
        raise UserError(
            f"--{flag}={path}: no such folder; it takes a local folder or a Hub id"
            + _or_scratch(flag)
        )
    return _fetch_from_hub(path, revision, flag)


def _or_scratch(flag: str) -> str:
    return ", or --init_from=scratch for random weights" if flag == "init_from" else ""


def _copy_to_local(folder: epath.Path) -> epath.Path:
    local = epath.Path(tempfile.mkdtemp(prefix="tfseg-"))
    for name in ("config.json", "preprocessor_config.json", *_WEIGHT_FILES):
        if (folder / name).exists():
            (folder / name).copy(local / name)
    return local


def _fetch_from_hub(hub_id: str, revision: str | None, flag: str) -> epath.Path:
    import huggingface_hub
    from huggingface_hub import errors

    gone = (errors.HFValidationError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
    # Asked first, because a look-up without a network retries for 23 seconds.
    is_online = _hub_answers()

    def fetch(name: str) -> str:
        return huggingface_hub.hf_hub_download(
            hub_id, name, revision=revision, local_files_only=not is_online
        )

    try:
        config_file = fetch("config.json")
        for name in ("preprocessor_config.json", *_WEIGHT_FILES):
            with contextlib.suppress(errors.EntryNotFoundError):
                fetch(name)
                if name in _WEIGHT_FILES:
                    break
    except gone:
        raise UserError(
            f"--{flag}={hub_id}: no such folder here and no such model or revision on the Hub"
        ) from None
    except Exception as error:
        only_local = isinstance(error, errors.LocalEntryNotFoundError)
        if isinstance(error, errors.EntryNotFoundError) and not only_local:
            raise UserError(f"--{flag}={hub_id} has no config.json on the Hub") from None
        raise UserError(
            f"--{flag}={hub_id}: no such folder here, and the Hugging Face Hub did not answer "
            f"({type(error).__name__}); give a local folder with --{flag}=DIR "
            f"(on a machine with a network: hf download {hub_id} --local-dir DIR)"
            + _or_scratch(flag)
        ) from error
    return epath.Path(config_file).parent


def _hub_answers() -> bool:
    import requests
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=_HUB_TIMEOUT_SECONDS)
    except (requests.RequestException, OSError):
        return False
    return True


def read_config(folder: epath.Path) -> SegformerConfig:
    """Reads `config.json`.

    Raises:
        UserError: It is damaged, or describes another model than SegFormer.
    """
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text())
        model_type = values.get("model_type")
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise _damaged(path, error) from error
    if model_type != "segformer":
        raise UserError(f"{folder} holds a model of type {model_type!r}; tfseg takes 'segformer'")
    # False leaves the last stage flat, for which transformers' head assumes a square image.
    return SegformerConfig.from_dict({**values, "reshape_last_stage": True})


def set_labels(config: SegformerConfig, labels: LabelSpec) -> None:
    """Writes the classes into a config: `id2label`, `label2id`, ignore index and palette."""
    config.id2label = labels.id2label
    config.label2id = labels.label2id
    config.semantic_loss_ignore_index = labels.ignore_index
    config.palette = [list(color) for color in labels.palette]


def read_labels(config: SegformerConfig) -> LabelSpec:
    """Rebuilds the classes from a config.

    A folder of another origin gets the default palette; a name that stands for two classes gets
    its id, as ImageNet's two cranes; an ignore index that is a class id becomes -1.
    """
    names = [config.id2label[class_id] for class_id in sorted(config.id2label)]
    names = tuple(
        name if names.index(name) == index else f"{name} ({index})"
        for index, name in enumerate(names)
    )
    palette = tuple(tuple(color) for color in getattr(config, "palette", ()))
    ignore_index = getattr(config, "semantic_loss_ignore_index", DEFAULT_IGNORE_INDEX)
    is_class = 0 <= ignore_index < len(names)
    return LabelSpec(names, palette=palette, ignore_index=-1 if is_class else ignore_index)


def read_preprocessing(
    folder: epath.Path, image_size: tuple[int, int] | None = None
) -> Preprocessing:
    """Reads `preprocessor_config.json`; ImageNet's figures and 512x512 where there is none.

    Args:
        folder: Checkpoint folder.
        image_size: (height, width) in pixels instead of the saved one.
    """
    path = folder / "preprocessor_config.json"
    values = json.loads(path.read_text()) if path.exists() else {}
    size = values.get("size", 512)
    if isinstance(size, dict):
        size = size.get("shortest_edge") or (size["height"], size["width"])
    saved_size = (size, size) if isinstance(size, int) else tuple(size)
    return Preprocessing(
        image_size or saved_size,
        tuple(values.get("image_mean", DEFAULT_MEAN)),
        tuple(values.get("image_std", DEFAULT_STD)),
    )


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
        name, transpose = _pytorch_name(variable.name, variable.shape)
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
    readers = dict(zip(_WEIGHT_FILES, (_read_safetensors, _read_h5, _read_pickle), strict=True))
    name = next((name for name in readers if (folder / name).exists()), None)
    if name is None:
        raise UserError(
            f"{folder} holds none of {', '.join(_WEIGHT_FILES)}; other or sharded weights: load "
            "them with transformers and save_pretrained(..., safe_serialization=True)"
        )
    try:
        state = readers[name](folder / name)
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise _damaged(folder / name, error) from error
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


def _damaged(path: epath.Path, error: Exception) -> UserError:
    reason = str(error).partition("\n")[0]
    return UserError(f"{path} is damaged or incomplete, fetch or save it again: {reason}")


def pytorch_state(network: TFSegformerForSemanticSegmentation) -> dict[str, np.ndarray]:
    """Returns every weight under PyTorch's name and in its layout, float32."""
    state = _to_pytorch({variable.name: variable.numpy() for variable in network.variables})
    # PyTorch's batch norm counts batches; nothing reads it while momentum is set.
    return {**state, "decode_head.batch_norm.num_batches_tracked": np.zeros((), np.int64)}


def _to_pytorch(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turns TensorFlow's variable names and layout into PyTorch's."""
    state = {}
    for tensorflow_name, array in arrays.items():
        name, transpose = _pytorch_name(tensorflow_name, array.shape)
        array = pytorch_layout.apply_transpose(transpose, array, pt_to_tf=False)
        state[name] = np.ascontiguousarray(array, np.float32)
    return state


def _pytorch_name(name: str, shape: Sequence[int]) -> tuple[str, pytorch_layout.TransposeType]:
    name, transpose = pytorch_layout.convert_tf_weight_name_to_pt_weight_name(
        name, tf_weight_shape=shape
    )
    name = name.replace("moving_mean", "running_mean").replace("moving_variance", "running_var")
    return name, transpose


def save(
    network: TFSegformerForSemanticSegmentation, preprocessing: Preprocessing, folder: str
) -> None:
    """Writes `config.json`, `preprocessor_config.json` and PyTorch-layout `model.safetensors`."""
    config = {**network.config.to_dict(), "architectures": ["SegformerForSemanticSegmentation"]}
    height, width = preprocessing.image_size
    processor = {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": 2,  # PIL's bilinear
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
        "do_reduce_labels": False,
    }
    target = epath.Path(folder)
    for name, values in (("config.json", config), ("preprocessor_config.json", processor)):
        files.write_atomically(target / name, json.dumps(values, indent=2) + "\n")
    weights = serialize(pytorch_state(network), metadata={"format": "pt"})
    files.write_atomically(target / _SAFETENSORS, weights)
