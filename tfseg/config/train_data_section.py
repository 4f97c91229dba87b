"""The section on training examples, as those in `tfseg.config.sections`."""

from __future__ import annotations

import dataclasses
import re

from tfseg.config.defaults import CACHE_LIMIT_BYTES, SIZE_MULTIPLE
from tfseg.config.validation import check_fields, check_range, check_size, join, option
from tfseg.errors import UserError

_CROP_FIELDS = ("crop_size", "random_scale", "max_class_share")
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
        "shear or move image and mask, or change colours; mosaic: standard crops of four images "
        "side by side in one, each example with the three that follow it; cutout: standard, and "
        "the image loses a rectangle whose classes the mask keeps; basic: horizontal flip and "
        "colours; flip: horizontal flip only; none: no change",
        default_text="the data set's own (shapes: flip, all others: standard)",
        choices=("standard", "rand_augment", "mosaic", "cutout", "basic", "flip", "none"),
    )
    random_scale: tuple[float, float] = option(
        (0.5, 2.0),
        "range of the random scale factor before the crop, as smallest,largest",
        above=0.0,
    )
    max_class_share: float = option(
        0.75,
        "largest share of one class in a random crop; up to 10 crops of an image are tried until "
        "none has more, and 1 tries one",
        above=0.0,
        maximum=1.0,
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
