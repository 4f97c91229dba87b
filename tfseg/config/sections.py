"""The sections on data and model, with the default and the checks of every field.

Each field is a flag of the same name (`tfseg.cli`). `None` means that a later step fills the field
in: from the data set, from the checkpoint, or from another field. A run saves the filled-in
configuration. This room imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses

from tfseg.config.backbones import BACKBONES
from tfseg.config.defaults import (
    DEFAULT_IGNORE_INDEX,
    SCRATCH_DROP_PATH_RATE,
    SIZE_MULTIPLE,
)
from tfseg.config.validation import check_fields, check_size, option
from tfseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which examples are read and evaluated, and how they are labelled and resized."""

    dataset: str = option(
        "shapes",
        "name of the data set: shapes, oxford_iiit_pet, scene_parse150 or cityscapes from the "
        "catalog, tfds:NAME, "
        "hf:REPO_OR_PATH, or folder:PATH with images/<split>/X.jpg and annotations/<split>/X.png, "
        "with <split>/images/X.jpg and <split>/masks/X.png, or with images/X.jpg, masks/X.png and "
        "the names of each split in <split>.txt",
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
    pet_task: str = option(
        "trimap",
        "classes of --dataset=oxford_iiit_pet. trimap: pet, background, outline; foreground: "
        "background, pet; species: background, cat, dog; breed: background and 37 breeds. The "
        "outline is void in all but trimap",
        choices=("trimap", "foreground", "species", "breed"),
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
    image_suffix: str | None = option(
        None,
        "end of the names of the images of a folder: data set, e.g. _leftImg8bit.png; what stands "
        "before it pairs them with masks",
        default_text="any of .jpg, .jpeg, .png and .bmp",
    )
    mask_suffix: str | None = option(
        None,
        "end of the names of the masks of a folder: data set, e.g. _mask.png; they may then lie "
        "beside the images",
        default_text=".png",
    )
    segments_info: str | None = option(
        None,
        "JSON file of the segments in the masks of a folder: data set, whose pixels are then ids "
        "of segments: COCO's for panoptic masks, or a release file of Segments.ai",
        default_text="the pixels are the values of classes",
    )
    id2label: str | None = option(
        None,
        'JSON file of class names by raw mask value, e.g. {"0": "sky", "1": "road"}, or by colour, '
        'e.g. {"128,64,128": "road"}; REPO:FILE.json names a file on the Hugging Face Hub',
        default_text="the catalog's names, those that a tfds: data set declares, or id2label.json "
        "in the folder of a folder: data set",
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
        self._check_source("hf:", "dataset_config", "dataset_revision")
        self._check_source("folder:", "image_suffix", "mask_suffix", "segments_info")
        self._check_eval_fraction()
        self._check_pet_task()

    def _check_pet_task(self):
        if self.pet_task != "trimap" and self.dataset.partition(":")[0] != "oxford_iiit_pet":
            raise UserError(
                f"--pet_task={self.pet_task} is for --dataset=oxford_iiit_pet, received "
                f"--dataset={self.dataset}; leave it out"
            )

    def _check_eval_fraction(self):
        if self.eval_fraction is not None and not self.dataset.startswith(("hf:", "folder:")):
            raise UserError(
                f"--eval_fraction={self.eval_fraction} is for folder: and hf: data sets, not for "
                f"--dataset={self.dataset}; use slices, such as --train_split=train[:90%] "
                "--eval_split=train[90%:]"
            )

    def _check_source(self, prefix: str, *names: str):
        """Refuses flags that only the data sets of one source have."""
        for name in names:
            value = getattr(self, name)
            if value is not None and not self.dataset.startswith(prefix):
                raise UserError(
                    f"--{name}={value} is for {prefix} data sets, not for --dataset={self.dataset};"
                    " leave it out"
                )


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
