"""The folder of a run: which run it belongs to, and the files that describe the run."""

from __future__ import annotations

import json
from collections.abc import Mapping

from etils import epath

from tfseg import files
from tfseg.config import serialization
from tfseg.config.commands import TrainConfig
from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split
from tfseg.errors import UserError

# What a user would lose if another run took the folder.
_RESULTS = ("checkpoints/checkpoint", "best/config.json", "metrics.json", "saved_model")


def check_model_dir(config: TrainConfig, labels: LabelSpec) -> epath.Path:
    """Returns the folder of the run, which is new or holds a run of the same configuration.

    A folder that holds no results has nothing to lose, so a corrected run may take it.

    Args:
        config: The resolved configuration.
        labels: The classes of the data set, which a resumed run must find unchanged.

    Raises:
        UserError: The folder holds another run, or results that a run cannot resume from, or it
            holds a run and `resume` is off.
    """
    model_dir = epath.Path(config.run.model_dir).expanduser()
    for part in (model_dir, *model_dir.parents):
        if part.exists() and not part.is_dir():
            raise UserError(f"--model_dir={model_dir}: {part} is a file, not a folder")
    if not _holds_results(model_dir):
        return model_dir
    changes = _changes(model_dir, config, labels)
    if changes:
        raise _taken(model_dir, f"a run of another configuration ({'; '.join(changes)})")
    if not config.run.resume:
        raise _taken(model_dir, "a run, and --noresume was given")
    has_checkpoint = (model_dir / "checkpoints" / "checkpoint").exists()
    if (model_dir / "metrics.json").exists() and not has_checkpoint:
        raise _taken(model_dir, "the results of a finished run but no checkpoint to resume from")
    return model_dir


def check_splits(model_dir: epath.Path, splits: Mapping[str, Split]) -> None:
    """Checks that a resumed run finds the examples with which it began.

    Args:
        model_dir: The folder of the run.
        splits: The opened splits by purpose, `train` and `eval`.

    Raises:
        UserError: A split holds other examples than `data.json` records.
    """
    path = model_dir / "data.json"
    if not (_holds_results(model_dir) and path.exists()):
        return
    recorded, found = json.loads(path.read_text()), _describe(splits)
    for purpose, now in found.items():
        before = recorded[purpose]
        if before != now:
            raise UserError(
                f"the {purpose} split {now['split']!r} has changed since the run in "
                f"--model_dir={model_dir} began: it had {before['num_examples']} examples "
                f"(digest {before['digest'][:12]}) and now has {now['num_examples']} (digest "
                f"{now['digest'][:12]}); restore the data, or choose another --model_dir"
            )


def write_run_files(
    model_dir: epath.Path, config: TrainConfig, labels: LabelSpec, splits: Mapping[str, Split]
) -> None:
    """Writes what describes a run, and removes what a killed process left half-written.

    The files are `config.json`, `labels.json`, `data.json` and `train.flags`.
    """
    for folder in (model_dir, *(model_dir / name for name in ("best", "report", "saved_model"))):
        files.remove_leftovers(folder)
    command = f"python -m tfseg.train --flagfile={model_dir}/train.flags --model_dir=NEW"
    contents = {
        "config.json": serialization.to_json(config),
        "labels.json": labels.to_json(),
        "data.json": json.dumps(_describe(splits), indent=2) + "\n",
        "train.flags": serialization.flagfile_text(config, command),
    }
    for name, content in contents.items():
        files.write_atomically(model_dir / name, content)


def _holds_results(model_dir: epath.Path) -> bool:
    return any((model_dir / name).exists() for name in _RESULTS)


def _changes(model_dir: epath.Path, config: TrainConfig, labels: LabelSpec) -> list[str]:
    texts = {}
    for name in ("config.json", "labels.json"):
        path = model_dir / name
        if not path.exists():
            raise _taken(model_dir, f"results but no {name}, so they are of an unknown run")
        texts[name] = path.read_text()
    recorded = serialization.train_config_from_json(texts["config.json"])
    changes = serialization.changed_fields(recorded, config)
    if _without_colors(texts["labels.json"]) != _without_colors(labels.to_json()):
        changes.append("the class names or the mask values that stand for them")
    return changes


def _without_colors(labels_text: str) -> dict | None:
    """Returns the classes that `LabelSpec.to_json` wrote, which mean the same in other colours."""
    try:
        return {key: value for key, value in json.loads(labels_text).items() if key != "palette"}
    except (ValueError, AttributeError):  # Somebody else wrote the file.
        return None


def _taken(model_dir: epath.Path, what: str) -> UserError:
    return UserError(
        f"--model_dir={model_dir} holds {what}; choose another --model_dir, or remove that folder"
    )


def _describe(splits: Mapping[str, Split]) -> dict[str, dict]:
    return {
        purpose: {
            "split": split.name,
            "num_examples": split.num_examples,
            "digest": split.digest,
        }
        for purpose, split in splits.items()
    }
