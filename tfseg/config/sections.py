"""The sections on data and model, with the default and the checks of every field.

Each field is a flag of the same name (`tfseg.cli`). `None` means that a later step fills the field
in: from the data set, from the checkpoint, or from another field. A run saves the filled-in
configuration. This room imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import re

from tfseg.config.backbones import BACKBONES
from tfseg.config.defaults import (
    CACHE_LIMIT_BYTES,
    DEFAULT_IGNORE_INDEX,
    SCRATCH_DROP_PATH_RATE,
    SIZE_MULTIPLE,
)
from tfseg.config.validation import check_fields, check_range, check_size, join, option
from tfseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which examples are read and evaluated, and how they are labelled and resized."""

    dataset: str = option(
        "shapes",
        "name of the data set: shapes or oxford_iiit_pet from the catalog, tfds:NAME, "
        "hf:REPO_OR_PATH, or folder:PATH with images/<split>/X.jpg and annotations/<split>/X.png, "
        "or with <split>/images/X.jpg and <split>/masks/X.png",
    )
    data_dir: str | None = option(
        None,
        "folder in which TFDS prepares and finds its data sets",
        default_text="TFDS's own, ~/tensorflow_datasets",
        resumable=True,
    )
    dataset_config: str | None = option(
        None,
        "configuration of a hf: data set that has several",
        default_text="the data set's own",
    )
    dataset_revision: str | None = option(
        None,
        "branch, tag or commit of a hf: data set on the Hub",
        default_text="the Hub's main branch",
    )
    eval_split: str | None = option(None, "split to evaluate on", default_text="the data set's own")
    eval_fraction: float | None = option(
        None,
        "share of the training split of a folder: or hf: data set that is held out for evaluation, "
        "for data sets without a split for it; the same examples each time",
        default_text="nothing is held out",
        above=0.0,
        below=1.0,
    )
    image_key: str | None = option(
        None,
        "name of the image feature of a tfds: or hf: data set",
        default_text="a usual name, such as image",
    )
    mask_key: str | None = option(
        None,
        "name of the mask feature of a tfds: or hf: data set",
        default_text="a usual name, such as segmentation_mask",
    )
    id2label: str | None = option(
        None,
        'JSON file of class names by raw mask value, e.g. {"0": "sky", "1": "road"}, or by colour, '
        'e.g. {"128,64,128": "road"}; REPO:FILE.json names a file on the Hugging Face Hub',
        default_text="the catalog's names, or id2label.json in the folder of a folder: data set",
    )
    label_map: str | None = option(
        None,
        "JSON file that merges classes: the name of a class, or null for void, by class name or "
        'mask value, e.g. {"bus": "car", "7": null}',
        default_text="every class stays as it is",
    )
    instance_divisor: int = option(
        1,
        "number by which the values of a mask are divided, and rounded down, to give class values; "
        "for masks of panoptic segmentation, e.g. 1000",
        minimum=1,
    )
    strict_labels: bool = option(
        False,
        "treat a mask value without a class name as an error instead of as void; the ignore index "
        "stays void",
    )
    ignore_index: int = option(
        DEFAULT_IGNORE_INDEX, "mask value of void pixels, which the loss and the metrics ignore"
    )
    reduce_labels: bool = option(
        False, "treat raw mask value 0 as void and number the classes from value 1, as in ADE20K"
    )
    image_size: tuple[int, int] | None = option(
        None,
        "size in pixels that images are resized to, as height,width or one number for a square; "
        f"multiples of {SIZE_MULTIPLE}",
        default_text="the data set's own, or in tfseg.eval the model's own",
    )
    on_bad_example: str = option(
        "error",
        "what to do with an unreadable image, or a mask that does not fit its image: error stops "
        "and names it, skip leaves it out and counts it",
        choices=("error", "skip"),
    )
    max_eval_examples: int | None = option(
        None, "evaluate on the first N examples only", default_text="all examples", minimum=1
    )

    def __post_init__(self):
        check_fields(self)
        check_size("image_size", self.image_size)
        self._check_hugging_face()
        self._check_eval_fraction()

    def _check_eval_fraction(self):
        if self.eval_fraction is not None and not self.dataset.startswith(("hf:", "folder:")):
            raise UserError(
                f"--eval_fraction={self.eval_fraction} is for folder: and hf: data sets, not for "
                f"--dataset={self.dataset}; use slices, such as --train_split=train[:90%] "
                "--eval_split=train[90%:]"
            )

    def _check_hugging_face(self):
        """Refuses flags that only data sets of Hugging Face have."""
        for name in ("dataset_config", "dataset_revision"):
            value = getattr(self, name)
            if value is not None and not self.dataset.startswith("hf:"):
                raise UserError(
                    f"--{name}={value} is for hf: data sets, not for --dataset={self.dataset}; "
                    "leave it out"
                )


_CROP_FIELDS = ("crop_size", "random_scale")
_COLOR_FIELDS = ("brightness", "contrast", "saturation", "hue")
# Which fields an augmentation does not read; the others read all of them.
_UNUSED_FIELDS = {
    "basic": _CROP_FIELDS,
    "flip": _CROP_FIELDS + _COLOR_FIELDS,
    "none": _CROP_FIELDS + _COLOR_FIELDS,
}


@dataclasses.dataclass(frozen=True)
class TrainDataConfig:
    """What only training does with its examples: split, cache, crops and augmentation."""

    train_split: str | None = option(None, "split to train on", default_text="the data set's own")
    apply_exif: bool = option(
        True,
        "turn JPEG files upright by their EXIF orientation, in training and wherever the model is "
        "used; a mask that has the size of the file as it is stored is turned along",
    )
    crop_size: tuple[int, int] | None = option(
        None,
        "size in pixels of random training crops, as height,width or one number for a square; "
        f"multiples of {SIZE_MULTIPLE}",
        default_text="--image_size",
    )
    augmentation: str | None = option(
        None,
        "random changes of the training images. standard: scale, crop, horizontal flip and "
        "colours; rand_augment: standard and two random operations of RandAugment, which rotate, "
        "shear or move image and mask, or change colours; basic: horizontal flip and colours; "
        "flip: horizontal flip only; none: no change",
        default_text="the data set's own (shapes: flip, all others: standard)",
        choices=("standard", "rand_augment", "basic", "flip", "none"),
    )
    random_scale: tuple[float, float] = option(
        (0.5, 2.0),
        "range of the random scale factor before the crop, as smallest,largest",
        above=0.0,
    )
    brightness: float = option(
        0.2, "maximum change of brightness, for pixel values in [0, 1]", minimum=0.0, maximum=1.0
    )
    contrast: tuple[float, ...] = option(
        (0.2,),
        "range of the random factor of contrast, as smallest,largest; one number x stands for "
        "1-x,1+x",
        minimum=0.0,
    )
    saturation: tuple[float, ...] = option(
        (0.2,),
        "range of the random factor of saturation, as smallest,largest; one number x stands for "
        "1-x,1+x",
        minimum=0.0,
    )
    hue: float = option(
        0.02, "maximum hue shift, as a fraction of the hue cycle", minimum=0.0, maximum=0.5
    )
    cache: str = option(
        "auto",
        "whether to keep decoded examples in memory; auto keeps them if they take at most "
        f"{CACHE_LIMIT_BYTES >> 30} GiB",
        choices=("auto", "memory", "none"),
        resumable=True,
    )
    data_service: str | None = option(
        None,
        "grpc://HOST:PORT of the dispatcher of a tf.data service, whose input workers prepare the "
        "training batches; they cache no decoded examples",
        default_text="the training prepares its own batches",
        resumable=True,
    )
    max_train_examples: int | None = option(
        None, "train on the first N examples only", default_text="all examples", minimum=1
    )

    def __post_init__(self):
        check_fields(self)
        check_size("crop_size", self.crop_size)
        check_range("random_scale", self.random_scale, "0.5,2.0")
        self._check_factor("contrast")
        self._check_factor("saturation")
        self._check_data_service()
        self._check_unused()

    def _check_factor(self, name: str):
        """Checks a factor, of which Python code and earlier versions may give a single number."""
        values = getattr(self, name)
        if not isinstance(values, tuple):
            values = (values,)
            object.__setattr__(self, name, values)
        is_number = len(values) == 1 and values[0] < 1
        is_range = len(values) == 2 and values[0] < values[1]
        if not is_number and not is_range:
            raise UserError(
                f"--{name}={join(values)} must be smallest,largest, e.g. 0.5,2.0, or one number "
                "below 1"
            )

    def _check_data_service(self):
        service = self.data_service
        if service is not None and not re.fullmatch(r"grpc://[^/]+:\d+", service):
            raise UserError(
                f"--data_service={service} is no address; it must be like grpc://10.0.0.5:5050"
            )

    def _check_unused(self):
        """Refuses flags that the augmentation does not read."""
        unused = _UNUSED_FIELDS.get(self.augmentation, ())
        for field in dataclasses.fields(self):
            if field.name in unused and getattr(self, field.name) != field.default:
                raise UserError(
                    f"--{field.name} has no effect with --augmentation={self.augmentation}; "
                    "add --augmentation=standard"
                )


def factor_range(values: tuple[float, ...]) -> tuple[float, ...]:
    """Returns smallest and largest factor: `values`, or `(1 - x, 1 + x)` for `values == (x,)`."""
    return (1 - values[0], 1 + values[0]) if len(values) == 1 else values


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Which SegFormer is trained, and where its initial weights come from."""

    backbone: str = option(
        "mit-b0",
        "Mix Transformer encoder, by size; a checkpoint in --init_from brings its own",
        choices=tuple(BACKBONES),
    )
    init_from: str | None = option(
        None,
        "initial weights: a Hub id, a local folder (PyTorch or TensorFlow layout), or scratch for "
        "random weights",
        default_text="nvidia/<backbone>, or scratch for shapes",
    )
    revision: str | None = option(
        None, "branch, tag or commit of a Hub id", default_text="the Hub's main branch"
    )
    freeze_encoder: bool = option(False, "train the decode head only")
    drop_path_rate: float | None = option(
        None,
        "maximum probability with which stochastic depth drops a block",
        default_text=f"the checkpoint's, or {SCRATCH_DROP_PATH_RATE:g} from scratch",
        minimum=0.0,
        maximum=0.9,
    )

    def __post_init__(self):
        check_fields(self)
