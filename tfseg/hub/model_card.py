"""The model card: the README.md of a checkpoint folder, in the form that the Hub reads."""

from __future__ import annotations

import html
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

import tfseg
from tfseg import files

# Stands in a card for the repository, whose name is not known before the upload.
PLACEHOLDER = "OWNER/NAME"

_TASK = "image-segmentation"
_METRICS = {
    "mean_iou": "Mean IoU",
    "mean_accuracy": "Mean accuracy",
    "overall_accuracy": "Overall accuracy",
}
# Flags that name machines and folders rather than what was computed.
_PLACES = ("data_dir", "data_service", "tpu")
_FILES = ("--id2label", "--label_map", "--segments_info")
_HUB_FILE = re.compile(r"[\w.-]+/[\w.-]+:[^:]+")  # as --id2label takes it
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")

_BODY = """
# SegFormer fine-tuned on {dataset}

{origin} It is trained with tfseg {version} on images of {height}x{width} pixels.
{note}{picture}
## Results

On the split `{split}`, with every mask scored at its own size:

{results}

{classes}

## How to use it

In Keras, with tfseg:

```python
import numpy as np
import tfseg

model = tfseg.models.load_model("{repo}")
image = np.zeros([480, 640, 3], np.uint8)  # your image, RGB
logits = model(model.preprocessing(image)[None], training=False)
class_map = logits.numpy().argmax(-1)[0]
```

In PyTorch:

```python
import PIL.Image
from transformers import AutoImageProcessor, SegformerForSemanticSegmentation

processor = AutoImageProcessor.from_pretrained("{repo}")
model = SegformerForSemanticSegmentation.from_pretrained("{repo}")
image = PIL.Image.new("RGB", (640, 480))  # your image
outputs = model(**processor(image, return_tensors="pt"))
(class_map,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[(480, 640)])
```

In TF Serving, which takes JPEG or PNG bytes over REST and returns a PNG of class ids:

```sh
python -m tfseg.export --model={repo} --export_dir=serving/model
docker run -p 8501:8501 -v "$PWD/serving/model:/models/model" -e MODEL_NAME=model tensorflow/serving
echo '{{"instances": [{{"image_bytes": {{"b64": "'$(base64 -w0 image.jpg)'"}}}}]}}' |
  curl -d @- http://localhost:8501/v1/models/model:predict
```

## Training

```
{flags}
```
"""


def model_card(
    names: Sequence[str],
    metrics: Mapping[str, float],
    *,
    dataset: str,
    split: str,
    init_from: str,
    image_size: tuple[int, int],
    revision: str | None = None,
    flags: str = "",
    note: str = "",
    picture: str | None = None,
) -> str:
    """Returns the README.md of a checkpoint folder.

    Its metadata are those of https://huggingface.co/docs/hub/model-cards. No folder of the machine
    that trained is named, because the card may be published.

    Args:
        names: The classes, by class id.
        metrics: `mean_iou`, `mean_accuracy`, `overall_accuracy`, and `iou_<class>` and
            `accuracy_<class>`, in [0, 1] or nan. What is missing is left out.
        dataset: Value of `--dataset`, with its version.
        split: Name of the split that the metrics are from.
        init_from: Hub id or folder of the initial weights, or `scratch`.
        image_size: (height, width) of the model's input, in pixels.
        revision: The commit of `init_from` on the Hub; None if that is a folder.
        flags: The flags of the training, one per line.
        note: A sentence on the state of the training.
        picture: Name of a picture beside the card.
    """
    base_model = init_from if _COMMIT.fullmatch(revision or "") else None
    body = _BODY.format(
        dataset=_title(dataset),
        origin=_origin(init_from, base_model),
        version=tfseg.__version__,
        height=image_size[0],
        width=image_size[1],
        note=f"\n{note}\n" if note else "",
        picture=f"\n![Images, masks and predictions]({picture})\n" if picture else "",
        split=split,
        results=_results_table(metrics),
        classes=_class_table(names, metrics),
        repo=PLACEHOLDER,
        flags=_public_flags(flags, base_model),
    )
    metadata = _metadata(metrics, dataset, split, base_model)
    return str(ModelCard(f"---\n{metadata.to_yaml()}\n---\n{body}"))


def name_repository(path: Path, repo_id: str) -> None:
    """Writes the name of a repository, `owner/name`, into a card, which a new file replaces."""
    files.write_atomically(path, path.read_text("utf-8").replace(PLACEHOLDER, repo_id))


def _metadata(
    metrics: Mapping[str, float], dataset: str, split: str, base_model: str | None
) -> ModelCardData:
    title, hub_id = _title(dataset), dataset.removeprefix("hf:")
    is_on_hub = dataset.startswith("hf:") and _is_hub_id(hub_id)
    results = [
        EvalResult(
            task_type=_TASK,
            dataset_type=hub_id if is_on_hub else re.sub(r"[^\w.-]+", "-", title).lower(),
            dataset_name=title,
            dataset_split=split,
            metric_type=name,
            metric_name=words,
            metric_value=float(metrics[name]),
        )
        for name, words in _METRICS.items()
        if math.isfinite(metrics.get(name, math.nan))
    ]
    return ModelCardData(
        model_name=f"SegFormer fine-tuned on {title}",
        library_name="transformers",
        pipeline_tag=_TASK,
        tags=["segformer", _TASK, "semantic-segmentation", "vision", "keras", "tfseg"],
        datasets=[hub_id] if is_on_hub else None,
        metrics=[name for name in _METRICS if name in metrics],
        base_model=base_model,
        eval_results=results or None,
    )


def _is_hub_id(text: str) -> bool:
    return _HUB_ID.fullmatch(text) is not None and not os.path.exists(text)


def _title(dataset: str) -> str:
    """Returns the name of a data set without its source and the folders above it.

    >>> _title("folder:/data/camvid")
    'camvid'
    >>> _title("hf:owner/streets")
    'owner/streets'
    """
    prefix, _, path = dataset.partition(":")
    if prefix == "folder" or (prefix == "hf" and not _is_hub_id(path)):
        return os.path.basename(os.path.abspath(path))
    return path if prefix in ("tfds", "hf") else dataset


def _origin(init_from: str, base_model: str | None) -> str:
    if base_model:
        return f"This model starts from [{base_model}](https://huggingface.co/{base_model})."
    if init_from == "scratch":
        return "This model starts from random weights."
    folder = os.path.basename(init_from.rstrip("/"))
    return f"This model starts from the local checkpoint `{folder}`."


def _results_table(metrics: Mapping[str, float]) -> str:
    rows = [
        f"| {words} | {metrics[name]:.4f} |" for name, words in _METRICS.items() if name in metrics
    ]
    return "\n".join(["| metric | value |", "|---|---|", *rows])


def _class_table(names: Sequence[str], metrics: Mapping[str, float]) -> str:
    """Returns the classes by id, with their metrics where these are known."""
    columns = [column for column in ("iou", "accuracy") if f"{column}_{names[0]}" in metrics]
    head = ["id", "class", *({"iou": "IoU", "accuracy": "accuracy"}[name] for name in columns)]
    rows = [head, ["---"] * len(head)]
    for class_id, name in enumerate(names):
        values = [f"{metrics[f'{column}_{name}']:.4f}" for column in columns]
        rows.append([str(class_id), _escape(name), *values])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _escape(name: str) -> str:
    return html.escape(" ".join(name.split()), quote=False).replace("|", "\\|")


def _public_flags(flags: str, base_model: str | None = None) -> str:
    r"""Returns flags without comments, machines, and the folders above a file.

    >>> _public_flags("# mine\n--dataset=folder:clients/camvid\n--epochs=3\n--tpu=mine")
    '--dataset=folder:camvid\n--epochs=3'
    """
    places = tuple(f"--{name}=" for name in _PLACES)
    lines = [line for line in flags.splitlines() if not line.startswith(("#", *places))]
    return "\n".join(_without_folders(line, base_model) for line in lines)


def _without_folders(flag: str, base_model: str | None) -> str:
    name, _, value = flag.partition("=")
    source = value.partition(":")[0]
    if name == "--dataset" and source in ("folder", "hf"):
        return f"{name}={source}:{_title(value)}"
    is_file = name in _FILES and _HUB_FILE.fullmatch(value) is None
    is_folder = name == "--init_from" and base_model is None
    if is_file or is_folder or re.match(r"[/~]|\.\.?/|\w+://", value):
        return f"{name}={os.path.basename(value.rstrip('/'))}"
    return flag
