"""Opening a Hugging Face data set as a table: from the Hub, or from a local file or folder.

What can follow `--dataset=hf:`

- the id of a repository on the Hub;
- a folder of parquet files, or of images with `metadata.csv` or `metadata.jsonl`, as
  `datasets.load_dataset` reads them;
- a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote;
- a single parquet file, all of which is the split `train`.
"""

from __future__ import annotations

import os
import re

from tfseg import network
from tfseg.errors import UserError

_SCRIPT_ERROR = "Dataset scripts are no longer supported"  # `datasets` raises it as RuntimeError
# Which flag repairs what `datasets` reports, by a part of its message.
_REPAIRS = {
    "split": "--train_split, --eval_split",
    "Config name is missing": "--dataset_config",
    "BuilderConfig": "--dataset_config",
    "Revision": "--dataset_revision",
}


def open_table(
    path: str, split: str, *, config_name: str | None = None, revision: str | None = None
):
    """Opens a split as a `datasets.Dataset` whose rows are all rows of its Arrow table.

    Args:
        path: Hub id, or a local file or folder.
        split: Split in the syntax of `datasets`, e.g. `train[:80%]+test`.
        config_name: Configuration of a data set that has several.
        revision: Branch, tag or commit of a Hub id.

    Raises:
        UserError: The data set, split, configuration or revision is unknown or cannot be fetched.
    """
    import datasets

    path = os.path.expanduser(path)
    is_local = os.path.exists(path) or path.endswith(".py")
    asks_hub = not is_local and not datasets.config.HF_HUB_OFFLINE
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    _check_options(path, config_name, revision, is_local=is_local)
    if asks_hub and not network.hub_answers():
        raise _unreachable_hub(path)
    try:
        return _read_table(path, split, config_name, revision)
    except Exception as error:  # `datasets` raises many types, and those of the formats it reads
        if asks_hub and not network.hub_answers():
            raise _unreachable_hub(path) from error
        if isinstance(error, RuntimeError) and _SCRIPT_ERROR in str(error):
            raise _loading_script(path) from error
        raise UserError(f"--dataset=hf:{path}, split {split!r}: {_reason(error)}") from error


def own_folders(path: str) -> tuple[str, ...]:
    """Returns the folders in which pictures of a data set may lie, as absolute paths.

    They are the folder of a local data set, or else the cache of the Hub, and the folder to which
    `datasets` extracts archives. A relative path of a picture starts at the first of them.
    """
    import datasets
    from huggingface_hub import constants

    path = os.path.expanduser(path)
    folder = constants.HF_HUB_CACHE
    if os.path.exists(path):
        folder = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
    # `datasets` follows a link to a folder before it lists the files there.
    extracted = str(datasets.config.DOWNLOADED_DATASETS_PATH)
    return os.path.abspath(folder), os.path.realpath(folder), os.path.abspath(extracted)


def _check_options(
    path: str, config_name: str | None, revision: str | None, *, is_local: bool
) -> None:
    if revision is not None and is_local:
        raise UserError(
            f"--dataset_revision={revision} is for data sets on the Hub, but --dataset=hf:{path} "
            "is local; leave it out"
        )
    if config_name is not None and (os.path.isfile(path) or _is_saved(path)):
        raise UserError(
            f"--dataset_config={config_name}: --dataset=hf:{path} has no configurations; leave it "
            "out"
        )


def _read_table(path: str, split: str, config_name: str | None, revision: str | None):
    import datasets

    if _is_saved(path):
        return _read_saved(path, split)
    if os.path.isfile(path) and path.lower().endswith(".parquet"):
        return datasets.load_dataset("parquet", data_files=os.path.abspath(path), split=split)
    return datasets.load_dataset(path, config_name, split=split, revision=revision)


def _is_saved(path: str) -> bool:
    from datasets import config

    names = (config.DATASET_STATE_JSON_FILENAME, config.DATASETDICT_JSON_FILENAME)
    return any(os.path.isfile(os.path.join(path, name)) for name in names)


def _read_saved(path: str, split: str):
    """Reads a folder of `save_to_disk`. Without a name of its own, a single split is `train`."""
    import datasets

    saved = datasets.load_from_disk(path)
    if isinstance(saved, datasets.Dataset):
        # A slice is saved under its full name, such as `test[:10%]`.
        name = re.match(r"\w+", str(saved.split or "train"))
        saved = {name.group(): saved}
    lengths = {name: len(table) for name, table in saved.items()}
    slices = datasets.ReadInstruction.from_spec(split).to_absolute(lengths)
    return datasets.concatenate_datasets(
        [saved[part.splitname].select(range(part.from_, part.to)) for part in slices]
    )


def _unreachable_hub(path: str) -> UserError:
    return UserError(
        f"--dataset=hf:{path} is no local folder, and the Hugging Face Hub did not answer; set "
        "HF_HUB_OFFLINE=1 to use a copy that is already in the cache, or download one on a machine "
        f"with a network: hf download --repo-type dataset {path} --local-dir DIR, then "
        "--dataset=hf:DIR; --dataset=shapes needs no network"
    )


def _loading_script(path: str) -> UserError:
    name = "NAME" if os.path.exists(path) else path
    return UserError(
        f"--dataset=hf:{path} is a loading script, and `datasets` 4 and later run none; download "
        f"the Hub's parquet copy: hf download --repo-type dataset {name} --revision "
        "refs/convert/parquet --local-dir DIR, then --dataset=hf:DIR/CONFIGURATION (DIR holds one "
        "folder per configuration)"
    )


def _reason(error: Exception) -> str:
    """Returns an exception in one line; `datasets` wraps an error while it converts files."""
    from datasets.exceptions import DatasetGenerationError

    if isinstance(error, DatasetGenerationError) and error.__cause__:
        error = error.__cause__
    text = " ".join(str(error).split())
    flags = next((flags for part, flags in _REPAIRS.items() if part in text), None)
    return f"{text} ({type(error).__name__})" + (f"; set {flags}" if flags else "")
