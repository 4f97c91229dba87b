"""SegFormer folders: find, read and write them, in PyTorch's and TensorFlow's layout."""

from __future__ import annotations

import json
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath
from transformers import SegformerConfig, TFSegformerForSemanticSegmentation
from transformers import modeling_tf_pytorch_utils as pytorch_layout

from tfseg import files
from tfseg.data.labels import DEFAULT_IGNORE_INDEX, LabelSpec
from tfseg.data.transforms import DEFAULT_MEAN, DEFAULT_STD, Preprocessing
from tfseg.errors import UserError

_SAFETENSORS = "model.safetensors"
_WEIGHT_FILES = (_SAFETENSORS, "tf_model.h5", "pytorch_model.bin")
_HUB_TIMEOUT_SECONDS = 5
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
    folder = epath.Path(path)
    if folder.exists():
        if not (folder / "config.json").exists():
            raise UserError(
                f"--{flag}={path} has no config.json: it takes a folder that save_pretrained or "
                "tfseg wrote (a run's best/), or a Hub id"
            )
        return _copy_to_local(folder) if "://" in path else folder
    if path.startswith((".", "/", "~")) or "://" in path or path.count("/") > 1:
        raise UserError(f"--{flag}={path}: no such folder")
    return _fetch_from_hub(path, revision, flag)


def _copy_to_local(folder: epath.Path) -> epath.Path:
    local = epath.Path(tempfile.mkdtemp(prefix="tfseg-"))
    for name in ("config.json", "preprocessor_config.json", *_WEIGHT_FILES):
        if (folder / name).exists():
            (folder / name).copy(local / name)
    return local


def _fetch_from_hub(hub_id: str, revision: str | None, flag: str) -> epath.Path:
    import huggingface_hub
    from huggingface_hub import errors

    # Asked first, because a look-up without a network retries for 23 seconds.
    is_online = _hub_answers()

    def fetch(name: str) -> str:
        return huggingface_hub.hf_hub_download(
            hub_id, name, revision=revision, local_files_only=not is_online
        )

    try:
        config_file = fetch("config.json")
        for name in ("preprocessor_config.json", *_WEIGHT_FILES):
            try:
                fetch(name)
            except errors.EntryNotFoundError:
                continue
            if name in _WEIGHT_FILES:
                break
    except errors.HFValidationError:
        raise UserError(f"--{flag}={hub_id} is neither a folder nor a Hub id") from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise UserError(
            f"--{flag}={hub_id}: no such folder here and no such model or revision on the Hub"
        ) from None
    except Exception as error:
        scratch = ", or --init_from=scratch for random weights" if flag == "init_from" else ""
        raise UserError(
            f"--{flag}={hub_id}: no such folder here, and the Hugging Face Hub did not answer "
            f"({type(error).__name__}); give a local folder with --{flag}=DIR "
            f"(on a machine with a network: hf download {hub_id} --local-dir DIR){scratch}"
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
        UserError: It describes another model than SegFormer.
    """
    values = json.loads((folder / "config.json").read_text())
    if values.get("model_type") != "segformer":
        raise UserError(
            f"{folder} holds a model of type {values.get('model_type')!r}; tfseg takes 'segformer'"
        )
    return SegformerConfig.from_dict(values)


def set_labels(config: SegformerConfig, labels: LabelSpec) -> None:
    """Writes the classes into a config: `id2label`, `label2id`, ignore index and palette."""
    config.id2label = labels.id2label
    config.label2id = labels.label2id
    config.semantic_loss_ignore_index = labels.ignore_index
    config.palette = [list(color) for color in labels.palette]


def read_labels(config: SegformerConfig) -> LabelSpec:
    """Rebuilds the classes from a config; a folder of another origin gets the default palette."""
    names = tuple(config.id2label[class_id] for class_id in sorted(config.id2label))
    palette = tuple(tuple(color) for color in getattr(config, "palette", ()))
    ignore_index = getattr(config, "semantic_loss_ignore_index", DEFAULT_IGNORE_INDEX)
    return LabelSpec(names, palette=palette, ignore_index=ignore_index)


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
        size = (size["height"], size["width"])
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
        UserError: No weights, or some are missing that may not be.
    """
    state = _read_pytorch_state(folder)
    state = _read_tensorflow_state(folder) if state is None else state
    if allow_fresh_head:
        _drop_other_classifier(state, network.config.num_labels)
    _, info = pytorch_layout.load_pytorch_state_dict_in_tf2_model(
        network,
        state,
        tf_inputs=False,
        allow_missing_keys=True,
        output_loading_info=True,
        skip_logger_warnings=True,
    )
    missing = [
        name
        for name in info["missing_keys"]
        if not (allow_fresh_head and name.startswith("decode_head."))
    ]
    if missing:
        raise UserError(
            f"{folder} lacks {len(missing)} weights of this SegFormer, first {missing[0]!r}: "
            "its config.json and its weights do not belong together, or it is no "
            "segmentation checkpoint"
        )


def _drop_other_classifier(state: dict[str, np.ndarray], num_classes: int) -> None:
    """Drops a classifier of another class count: transformers would try to reshape it."""
    weight = state.get(_CLASSIFIER + "weight")
    if weight is not None and weight.shape[0] != num_classes:
        del state[_CLASSIFIER + "weight"], state[_CLASSIFIER + "bias"]


def _read_pytorch_state(folder: epath.Path) -> dict[str, np.ndarray] | None:
    """Reads weights in PyTorch's layout, or returns None where they are in TensorFlow's.

    transformers 4.55 to 4.57 cannot load these into a TF model by themselves.
    """
    path = folder / _SAFETENSORS
    if path.exists():
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as archive:
                if (archive.metadata() or {}).get("format") == "tf":
                    return None
                return {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise UserError(f"{path} is damaged or incomplete: {error}") from error
    if (folder / "tf_model.h5").exists():
        return None
    path = folder / "pytorch_model.bin"
    if not path.exists():
        raise UserError(
            f"{folder} holds none of {', '.join(_WEIGHT_FILES)}; other or sharded weights: load "
            "them with transformers and save_pretrained(..., safe_serialization=True)"
        )
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path} is a PyTorch pickle, which takes PyTorch to read: pip install torch, or "
            "convert it to model.safetensors"
        ) from None
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor.numpy() for name, tensor in state.items()}


def _read_tensorflow_state(folder: epath.Path) -> dict[str, np.ndarray]:
    """Reads weights in TensorFlow's layout through transformers, under PyTorch's names."""
    stock, info = TFSegformerForSemanticSegmentation.from_pretrained(
        folder, output_loading_info=True
    )
    state = pytorch_state(stock)
    return {name: array for name, array in state.items() if name not in _missing(stock, info)}


def _missing(network: TFSegformerForSemanticSegmentation, info: dict[str, Any]) -> set[str]:
    """Returns PyTorch's names of the weights that a TF checkpoint did not hold."""
    missing = {key.split("/", 1)[-1].removesuffix(":0") for key in info["missing_keys"]}
    return {
        _pytorch_name(variable)[0]
        for variable in network.variables
        if variable.name.split("/", 1)[-1].removesuffix(":0") in missing
    }


def pytorch_state(network: TFSegformerForSemanticSegmentation) -> dict[str, np.ndarray]:
    """Returns every weight under PyTorch's name and in its layout, float32."""
    state = {}
    for variable in network.variables:
        name, transpose = _pytorch_name(variable)
        array = pytorch_layout.apply_transpose(transpose, variable.numpy(), pt_to_tf=False)
        state[name] = np.ascontiguousarray(array, np.float32)
    # PyTorch's batch norm counts batches; nothing reads it while momentum is set.
    state["decode_head.batch_norm.num_batches_tracked"] = np.zeros((), np.int64)
    return state


def _pytorch_name(variable: tf.Variable) -> tuple[str, pytorch_layout.TransposeType]:
    name, transpose = pytorch_layout.convert_tf_weight_name_to_pt_weight_name(
        variable.name, tf_weight_shape=variable.shape
    )
    name = name.replace("moving_mean", "running_mean").replace("moving_variance", "running_var")
    return name, transpose


def save(
    network: TFSegformerForSemanticSegmentation, preprocessing: Preprocessing, folder: str
) -> None:
    """Writes `config.json`, `preprocessor_config.json` and PyTorch-layout `model.safetensors`."""
    from safetensors.numpy import save as serialize

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
    files.write_atomically(target / "config.json", json.dumps(config, indent=2) + "\n")
    files.write_atomically(
        target / "preprocessor_config.json", json.dumps(processor, indent=2) + "\n"
    )
    weights = serialize(pytorch_state(network), metadata={"format": "pt"})
    files.write_atomically(target / _SAFETENSORS, weights)
