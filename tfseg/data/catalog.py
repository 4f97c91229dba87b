"""The data sets that tfseg knows by name, and how it reads other values of --dataset.

Importing this module does not load TensorFlow, so that `--help` answers quickly.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from etils import epath

from tfseg.data import class_names, label_files
from tfseg.data import labels as labels_lib
from tfseg.data.folder_layouts import FolderLayout
from tfseg.data.labels import LabelSpec, ObjectClass
from tfseg.data.sources import shapes_drawing
from tfseg.errors import UserError, nearest_name


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """What is known about a data set before an example is read.

    Attributes:
        name: The value of --dataset.
        source: Module of `data/sources` that reads the data set: `shapes`, `tfds`,
            `huggingface` or `folder`.
        path: What the source opens: a TFDS name with or without a version, a Hub id or a folder.
        labels: The classes.
        train_split: Default split to train on, in the source's own syntax.
        eval_split: Default split to score.
        image_key: Name of the image feature; None if the source finds it.
        mask_key: Name of the mask feature; None if the source finds it.
        object_class: Which feature tells the class of the pixels of an object; None if the mask
            does.
        image_size: Default (height, width) in pixels.
        augmentation: Default kind of augmentation.
        init_from: Default initial weights; None for an encoder that was trained on ImageNet.
    """

    name: str
    source: str
    path: str
    labels: LabelSpec
    train_split: str = "train"
    eval_split: str = "validation"
    image_key: str | None = None
    mask_key: str | None = None
    object_class: ObjectClass | None = None
    image_size: tuple[int, int] = (512, 512)
    augmentation: str = "standard"
    init_from: str | None = None


class NoClassNames(UserError):
    """A data set does not say what its classes are, and --id2label was not given.

    Attributes:
        spec: What is known about it. Its one class stands for all that it may have.
    """

    def __init__(self, message: str, spec: DatasetSpec):
        super().__init__(message)
        self.spec = spec


_NAMED = {
    # tfseg draws it, so it needs no download.
    "shapes": DatasetSpec(
        name="shapes",
        source="shapes",
        path="shapes",
        labels=LabelSpec(shapes_drawing.CLASS_NAMES),
        eval_split="test",
        image_size=(128, 128),
        augmentation="flip",  # The drawings already vary in size and light.
        init_from="scratch",
    ),
    # 3,680 photographs of cats and dogs to train on and 3,669 to score, of about 500x375 pixels.
    # In the masks 1 is pet, 2 background and 3 outline. https://www.robots.ox.ac.uk/~vgg/data/pets/
    "oxford_iiit_pet": DatasetSpec(
        name="oxford_iiit_pet",
        source="tfds",
        path="oxford_iiit_pet",
        labels=LabelSpec(("pet", "background", "outline"), raw_values=(1, 2, 3)),
        eval_split="test",
        image_key="image",
        mask_key="segmentation_mask",
    ),
    # TFDS prepares the masks of the instance task: red is one of 100 kinds of objects, 0 is
    # everything else, walls and sky too. The 150 classes of the scene parsing task are not there.
    "scene_parse150": DatasetSpec(
        name="scene_parse150",
        source="tfds",
        path="scene_parse150",
        labels=LabelSpec(
            class_names.SCENE_PARSE_OBJECTS,
            tuple(range(1, 1 + len(class_names.SCENE_PARSE_OBJECTS))),
            tuple(dict(class_names.ADE20K)[name] for name in class_names.SCENE_PARSE_OBJECTS),
            void_values=(0,),
        ),
        eval_split="test",  # TFDS's name for the 2,000 images of the validation set
        image_key="image",
        mask_key="annotation",
    ),
    # 2,975 street scenes to train on and 500 to score, of 2048x1024 pixels. Only a person may
    # download it, see https://www.tensorflow.org/datasets/catalog/cityscapes
    "cityscapes": DatasetSpec(
        name="cityscapes",
        source="tfds",
        path="cityscapes",
        labels=LabelSpec(
            *zip(*class_names.CITYSCAPES, strict=True),
            void_values=(*range(7), 9, 10, 14, 15, 16, 18, 29, 30),
        ),
        image_key="image_left",
        mask_key="segmentation_label",
        image_size=(512, 1024),
    ),
}
# In the masks of pets the animal is 1; its species or breed stands beside them.
_PET_ANIMAL, _PET_BACKGROUND, _PET_OUTLINE, _FIRST_PET_CLASS = 1, 2, 3, 4

_PREFIXES = {"tfds": "tfds", "hf": "huggingface", "folder": "folder"}


def get_dataset_spec(
    dataset: str,
    *,
    id2label: str | None = None,
    ignore_index: int = labels_lib.DEFAULT_IGNORE_INDEX,
    reduce_labels: bool = False,
    strict_labels: bool = False,
    label_map: str | None = None,
    instance_divisor: int = 1,
    pet_task: str = "trimap",
    data_dir: str | None = None,
    mask_key: str | None = None,
    image_suffix: str | None = None,
    mask_suffix: str | None = None,
) -> DatasetSpec:
    """Returns the facts about a data set.

    Args:
        dataset: A catalog name (`oxford_iiit_pet`, or `oxford_iiit_pet:4.0.0` for one version),
            `tfds:NAME`, `hf:REPO_OR_PATH` or `folder:PATH`.
        id2label: JSON file of class names by raw mask value, see `label_files.read_id2label`; it
            replaces the catalog's names.
        ignore_index: Value of void pixels after mapping.
        reduce_labels: Whether raw value 0 is void and classes start at 1.
        strict_labels: Whether a raw value without a name is an error instead of void.
        label_map: JSON file that merges and drops classes, see `label_files.apply_label_map`.
        instance_divisor: By what a pixel is divided to give the raw value, see `LabelSpec`.
        pet_task: Which classes oxford_iiit_pet has, see --pet_task.
        data_dir: Folder in which TFDS finds data sets, for the names that `tfds:NAME` declares.
        mask_key: Mask feature of `tfds:NAME`; None if the source finds it.
        image_suffix: End of the names of the images in `folder:PATH`, see `FolderLayout`.
        mask_suffix: End of the names of the masks there.

    Raises:
        UserError: The name is unknown, a folder is missing, or the classes are not known.
    """
    options = {
        "reduce_labels": reduce_labels,
        "ignore_index": ignore_index,
        "instance_divisor": instance_divisor,
    }
    try:
        spec = _named_spec(dataset, pet_task)
        spec = spec or _prefixed_spec(
            dataset, id2label, options, (data_dir, mask_key), (image_suffix, mask_suffix)
        )
        labels = spec.labels
        if id2label is not None:
            labels = label_files.read_id2label(id2label, **options)
        labels = dataclasses.replace(
            labels,
            ignore_index=ignore_index,
            strict=strict_labels,
            void_values=(*labels.void_values, *((0,) if reduce_labels else ())),
            instance_divisor=instance_divisor,
        )
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"--dataset={dataset}: {error}") from error
    if reduce_labels:
        _check_reduction(dataset, labels, is_named=id2label is None and spec.source == "tfds")
    if label_map is not None:
        labels = label_files.apply_label_map(labels, label_map)
    return dataclasses.replace(spec, labels=labels)


def _check_reduction(dataset: str, labels: LabelSpec, *, is_named: bool) -> None:
    """Refuses --reduce_labels for labels in which it would do harm, or that are reduced already."""
    if 0 in labels.raw_values:
        raise UserError(
            f"--reduce_labels makes mask value 0 void, but in {dataset} it is "
            f"{labels.names[labels.raw_values.index(0)]!r}; leave it out, or set --id2label"
        )
    if is_named:
        raise UserError(
            f"--reduce_labels would reduce the labels of {dataset} twice: its classes are mask "
            f"values {min(labels.raw_values)} to {max(labels.raw_values)}, and 0 is void already; "
            "leave it out"
        )


def _named_spec(dataset: str, pet_task: str) -> DatasetSpec | None:
    name, _, version = dataset.partition(":")
    name, _, config = name.partition("/")
    spec = _NAMED.get(name)
    if spec is None or ((version or config) and spec.source != "tfds"):
        return None
    spec = dataclasses.replace(spec, name=dataset, path=dataset)
    return _pet_spec(spec, pet_task) if name == "oxford_iiit_pet" else spec


def _pet_spec(spec: DatasetSpec, task: str) -> DatasetSpec:
    """Returns oxford_iiit_pet with the classes of --pet_task."""
    if task == "trimap":
        return spec
    animals, key = {
        "foreground": (("pet",), None),
        "species": (("cat", "dog"), "species"),
        "breed": (class_names.PET_BREEDS, "label"),
    }[task]
    first = _PET_ANIMAL if key is None else _FIRST_PET_CLASS
    labels = LabelSpec(
        ("background", *animals),
        (_PET_BACKGROUND, *range(first, first + len(animals))),
        void_values=(_PET_OUTLINE,),
    )
    object_class = key and ObjectClass(key, _PET_ANIMAL, _FIRST_PET_CLASS)
    return dataclasses.replace(spec, labels=labels, object_class=object_class)


def _prefixed_spec(
    dataset: str,
    id2label: str | None,
    options: dict[str, Any],
    tfds_source: tuple[str | None, str | None],
    suffixes: tuple[str | None, str | None],
) -> DatasetSpec:
    prefix, _, path = dataset.partition(":")
    if prefix not in _PREFIXES or not path:
        allowed = [*_NAMED, *(f"{known}:..." for known in _PREFIXES)]
        raise UserError(
            f"--dataset={dataset} is unknown{nearest_name(dataset, _NAMED)} "
            f"(allowed: {', '.join(allowed)})"
        )
    if prefix == "folder":
        layout = FolderLayout(epath.Path(path).expanduser(), *suffixes)
        return _folder_spec(dataset, layout, id2label, options)
    names = () if id2label or prefix != "tfds" else _declared_names(path, *tfds_source)
    if id2label is None and not names:
        void_values = (0,) if options["reduce_labels"] else ()
        divisor = options["instance_divisor"]
        unknown = LabelSpec(("unknown",), void_values=void_values, instance_divisor=divisor)
        raise NoClassNames(
            f"--dataset={dataset} needs --id2label=FILE.json: a JSON object of class names by raw "
            'mask value, e.g. {"0": "background", "1": "cat"}',
            DatasetSpec(dataset, _PREFIXES[prefix], path, unknown),
        )
    labels = label_files.read_id2label(id2label, **options) if id2label else LabelSpec(names)
    return DatasetSpec(dataset, _PREFIXES[prefix], path, labels)


def _declared_names(path: str, data_dir: str | None, mask_key: str | None) -> tuple[str, ...]:
    from tfseg.data.sources import tfds  # Imported here because it loads TensorFlow.

    return tfds.read_class_names(path, data_dir, mask_key)


def _folder_spec(
    dataset: str, layout: FolderLayout, id2label: str | None, options: dict[str, Any]
) -> DatasetSpec:
    folder = layout.root
    splits = layout.find_splits()
    if not splits:
        raise UserError(
            f"--dataset={dataset}: {'no split in' if folder.is_dir() else 'no folder'} {folder}; "
            "expected images/<split>/X.jpg with annotations/<split>/X.png, <split>/images/X.jpg "
            "with <split>/masks/X.png, or X.jpg beside X_mask.png with --mask_suffix=_mask.png"
        )
    eval_split = next((name for name in ("val", "validation", "test") if name in splits), "val")
    train_split = "training" if "training" in splits and "train" not in splits else "train"
    names_file = id2label or str(folder / "id2label.json")
    if id2label or epath.Path(names_file).exists():
        labels = label_files.read_id2label(names_file, **options)
    else:
        folders = layout.find_folders(train_split)
        masks = list(layout.list_masks(folders).values())
        labels = label_files.labels_from_masks(folders.masks, masks, **options)
    return DatasetSpec(dataset, "folder", str(folder), labels, train_split, eval_split)
