"""Writes SegFormer folders in Hugging Face's format."""

from __future__ import annotations

import json
from typing import Any

from etils import epath
from safetensors.numpy import save as serialize
from transformers import SegformerConfig, TFSegformerForSemanticSegmentation

from tfseg import files
from tfseg.data.transforms import Preprocessing
from tfseg.errors import UserError
from tfseg.models import image_processor
from tfseg.models.checkpoint import read_config
from tfseg.models.weights import SAFETENSORS_FILE, pytorch_state

# What a configuration tells about its file rather than about the model.
_ABOUT_THE_FILE = {"transformers_version", "_name_or_path", "torch_dtype", "dtype", "architectures"}


def save(
    network: TFSegformerForSemanticSegmentation, preprocessing: Preprocessing, folder: str
) -> None:
    """Writes `config.json`, `preprocessor_config.json` and PyTorch-layout `model.safetensors`.

    Whatever moment a kill picks, a reader finds one whole model, the old or the new. A folder
    cannot be replaced by one rename, `gs://` cannot rename folders, and symbolic links break
    `cp -r`. But one file can be replaced by one rename, so:

    - In a folder without `config.json`, that file is written last: no reader takes a folder
      without it for a model.
    - In a folder that holds the same model (the same configuration, classes and preprocessing,
      with other weights), `model.safetensors` alone is replaced. If the configuration promises
      weights of another dtype, it is replaced first; the old weights load under either label.
    - A folder that holds another model is refused, because it would take two renames.

    Args:
        network: Gives the configuration and the weights.
        preprocessing: What the model expects to have been done to an image.
        folder: Local or `gs://` folder; created if it is missing.

    Raises:
        UserError: The folder holds another model; nothing in it is touched.
    """
    target = epath.Path(folder)
    if (target / "config.json").exists():
        _check_same_model(target, network.config, preprocessing)
        if not _is_labelled_float32(target):
            _write_config(target, network.config)
        _write_weights(target, network)
        return
    image_processor.write_preprocessing(target, preprocessing)
    _write_weights(target, network)
    _write_config(target, network.config)


def _check_same_model(
    folder: epath.Path, config: SegformerConfig, preprocessing: Preprocessing
) -> None:
    saved, mine = _model_facts(read_config(folder)), _model_facts(config)
    names = saved.keys() | mine.keys()
    differences = sorted(name for name in names if saved.get(name) != mine.get(name))
    if differences:
        difference = f"its config.json differs in {', '.join(differences)}"
    elif image_processor.read_preprocessing(folder) != preprocessing:
        difference = "its preprocessor_config.json differs"
    else:
        return
    raise UserError(
        f"{folder} holds another model ({difference}); save to another folder, or remove that one"
    )


def _model_facts(config: SegformerConfig) -> dict[str, Any]:
    """Returns what a configuration says about the model, as it would be read from its file."""
    # Keys that this release of transformers does not know come from another one.
    # Colours are no part of the model: a folder keeps those that it was written with.
    known = SegformerConfig().to_dict().keys() - _ABOUT_THE_FILE
    values = SegformerConfig.from_dict(json.loads(json.dumps(config.to_dict()))).to_dict()
    return {name: value for name, value in values.items() if name in known}


def _is_labelled_float32(folder: epath.Path) -> bool:
    values = json.loads((folder / "config.json").read_text())
    return {values.get(name) for name in ("torch_dtype", "dtype")} <= {"float32", None}


def _write_config(folder: epath.Path, config: SegformerConfig) -> None:
    values = config.to_dict()
    values.pop("dtype", None)  # newer releases of transformers read `torch_dtype` too
    values["torch_dtype"] = "float32"
    values["architectures"] = ["SegformerForSemanticSegmentation"]
    files.write_atomically(folder / "config.json", json.dumps(values, indent=2) + "\n")


def _write_weights(folder: epath.Path, network: TFSegformerForSemanticSegmentation) -> None:
    weights = serialize(pytorch_state(network), metadata={"format": "pt"})
    files.write_atomically(folder / SAFETENSORS_FILE, weights)
