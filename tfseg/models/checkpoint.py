"""SegFormer folders: find them and read their configuration."""

from __future__ import annotations

import contextlib
import json
import tempfile

from etils import epath
from transformers import SegformerConfig

from tfseg import network
from tfseg.data.labels import DEFAULT_IGNORE_INDEX, LabelSpec
from tfseg.errors import UserError
from tfseg.models.weights import WEIGHT_FILES, damaged_file


def find_folder(path: str, revision: str | None, *, flag: str) -> epath.Path:
    """Returns the local folder of a checkpoint; a remote one is fetched first.

    Args:
        path: Local folder, `gs://` folder or Hub id.
        revision: Branch, tag or commit of a Hub id.
        flag: Name of the flag that `path` came from, for the error message.

    Raises:
        UserError: Nothing is there; the message says what was tried.
    """
    folder = epath.Path(path).expanduser()
    if folder.exists():
        if (folder / "best" / "config.json").exists():
            raise UserError(f"--{flag}={path} is the folder of a run: its model is {path}/best")
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
    for name in ("config.json", "preprocessor_config.json", *WEIGHT_FILES):
        if (folder / name).exists():
            (folder / name).copy(local / name)
    return local


def _fetch_from_hub(hub_id: str, revision: str | None, flag: str) -> epath.Path:
    import huggingface_hub
    from huggingface_hub import errors

    gone = (errors.HFValidationError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
    # Asked first, because without a network each look-up retries for 23 seconds.
    is_online = network.hub_answers()

    def fetch(name: str) -> str:
        return huggingface_hub.hf_hub_download(
            hub_id, name, revision=revision, local_files_only=not is_online
        )

    try:
        config_file = fetch("config.json")
        for name in ("preprocessor_config.json", *WEIGHT_FILES):
            with contextlib.suppress(errors.EntryNotFoundError):
                fetch(name)
                if name in WEIGHT_FILES:
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


def resolved_revision(folder: epath.PathLike) -> str | None:
    """Returns the commit that a Hub id and its revision stood for when `find_folder` found it.

    A run that records it can be repeated with the same weights after the branch has moved on.

    Args:
        folder: From `find_folder`.

    Returns:
        The commit hash, 40 hexadecimal digits; None for a folder that is not from the Hub.
    """
    folder = epath.Path(folder)
    # The Hub's cache keeps a commit's files in models--OWNER--NAME/snapshots/COMMIT.
    is_snapshot = folder.parent.name == "snapshots"
    is_from_hub = is_snapshot and folder.parent.parent.name.startswith("models--")
    return folder.name if is_from_hub else None


def read_config(folder: epath.Path) -> SegformerConfig:
    """Reads `config.json`.

    Raises:
        UserError: The file is damaged, or describes a model other than SegFormer.
    """
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text())
        model_type = values.get("model_type")
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise damaged_file(path, error) from error
    if model_type != "segformer":
        raise UserError(f"{folder} holds a model of type {model_type!r}; tfseg takes 'segformer'")
    # With False the last stage's features stay flat, and transformers' head then assumes a square
    # image. The weights are the same.
    return SegformerConfig.from_dict({**values, "reshape_last_stage": True})


def set_labels(config: SegformerConfig, labels: LabelSpec) -> None:
    """Sets a config's classes: `id2label`, `label2id`, the ignore index and the palette."""
    config.id2label = labels.id2label
    config.label2id = labels.label2id
    config.semantic_loss_ignore_index = labels.ignore_index
    config.palette = [list(color) for color in labels.palette]


def read_labels(config: SegformerConfig) -> LabelSpec:
    """Reads the classes from a config.

    A config without a palette, which only tfseg writes, gets the default one. If two classes
    have the same name, as ImageNet's two cranes do, the later one gets its class id appended. An
    ignore index that is also a class id becomes -1.

    Raises:
        UserError: The palette has not one colour for each class.
    """
    names = [config.id2label[class_id] for class_id in sorted(config.id2label)]
    names = tuple(
        name if names.index(name) == index else f"{name} ({index})"
        for index, name in enumerate(names)
    )
    palette = _read_palette(config, len(names))
    ignore_index = getattr(config, "semantic_loss_ignore_index", DEFAULT_IGNORE_INDEX)
    is_class = 0 <= ignore_index < len(names)
    return LabelSpec(names, palette=palette, ignore_index=-1 if is_class else ignore_index)


def _read_palette(config: SegformerConfig, num_classes: int) -> tuple[tuple[int, int, int], ...]:
    palette, fault = getattr(config, "palette", ()), None
    if not isinstance(palette, list | tuple):
        fault = f"palette is {palette!r}"
    elif palette and len(palette) != num_classes:
        fault = f"palette has {len(palette)} colours for {num_classes} classes"
    else:
        wrong = [color for color in palette if not _is_color(color)]
        fault = f"palette holds {wrong[0]!r}" if wrong else None
    if fault:
        raise UserError(
            f"the model's config.json: {fault}; give it one [red, green, blue] from 0 to 255 for "
            'each class, or remove "palette" for the default colours'
        )
    return tuple(tuple(color) for color in palette)


def _is_color(color: object) -> bool:
    if not isinstance(color, list | tuple) or len(color) != 3:
        return False
    return all(isinstance(level, int) and 0 <= level <= 255 for level in color)
