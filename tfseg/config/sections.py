"""Configurations: the one home of every default, validated; no TensorFlow here.

Each field of a section (`DataConfig`, `ModelConfig`, ...) is a flag of the same
name (`tfseg.cli`). `None` means "resolved later": from the data set, from the checkpoint, or from
another field; the resolved configuration is what a run saves.
"""

from __future__ import annotations

import dataclasses

from tfseg.config import class_weights as class_weights_lib
from tfseg.config.backbones import BACKBONES
from tfseg.config.validation import check_fields, check_piecewise, check_size, join, option
from tfseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which examples are read and scored, and how they are labelled and resized."""

    dataset: str = option(
        "shapes",
        "data set: a catalog name (shapes, oxford_iiit_pet), tfds:NAME, hf:REPO_OR_PATH, or "
        "folder:PATH holding images/<split>/X.jpg and annotations/<split>/X.png",
    )
    data_dir: str | None = option(
        None,
        "folder of prepared TFDS data sets; TFDS's own default where not given",
        resumable=True,
    )
    eval_split: str | None = option(None, "split to score; the data set's own where not given")
    image_key: str | None = option(None, "name of the image feature of a tfds: or hf: data set")
    mask_key: str | None = option(None, "name of the mask feature of a tfds: or hf: data set")
    id2label: str | None = option(
        None, "JSON file of class names by raw mask value; folder: data sets look for id2label.json"
    )
    strict_labels: bool = option(
        False, "a mask value without a name is an error instead of void (ignore_index stays void)"
    )
    ignore_index: int = option(255, "mask value of void pixels, which loss and metrics leave out")
    reduce_labels: bool = option(
        False, "raw value 0 is void and classes start at 1, as in ADE20K; applied once"
    )
    image_size: tuple[int, int] | None = option(
        None,
        "height,width in pixels that images are resized to, multiples of 32; one number for a "
        "square; the data set's own where not given",
    )
    on_bad_example: str = option(
        "error",
        "an unreadable image, or a mask that does not fit its image: stop and name it, or skip it "
        "and count",
        choices=("error", "skip"),
    )
    max_eval_examples: int | None = option(None, "use the first N eval examples", minimum=1)

    def __post_init__(self):
        check_fields(self)
        check_size("image_size", self.image_size)


@dataclasses.dataclass(frozen=True)
class TrainDataConfig:
    """What training alone does with its examples: split, cache, crops and augmentation."""

    train_split: str | None = option(None, "split to train on; the data set's own where not given")
    crop_size: tuple[int, int] | None = option(
        None, "height,width in pixels of training crops, multiples of 32; image_size if not given"
    )
    augmentation: str | None = option(
        None,
        "standard: random scale, crop, flip and colours; rand_augment: the same and keras-cv's "
        "RandAugment of colours, which does not repeat by seed; flip: mirrored half of the time; "
        "none: images as they are; standard where not given, flip for shapes",
        choices=("standard", "rand_augment", "flip", "none"),
    )
    random_scale: tuple[float, float] = option(
        (0.5, 2.0), "smallest,largest factor on image_size before the random crop", above=0.0
    )
    brightness: float = option(
        0.2, "largest random change of brightness, in [0,1] units", minimum=0.0, maximum=1.0
    )
    contrast: float = option(
        0.2, "contrast is scaled by up to 1 plus or minus this", minimum=0.0, maximum=0.99
    )
    saturation: float = option(
        0.2, "saturation is scaled by up to 1 plus or minus this", minimum=0.0, maximum=0.99
    )
    hue: float = option(
        0.02, "largest random turn of hue, as a share of the circle", minimum=0.0, maximum=0.5
    )
    cache: str = option(
        "auto",
        "keep decoded examples in memory; auto: where they take at most 2 GiB",
        choices=("auto", "memory", "none"),
        resumable=True,
    )
    max_train_examples: int | None = option(None, "use the first N training examples", minimum=1)

    def __post_init__(self):
        check_fields(self)
        check_size("crop_size", self.crop_size)
        if self.augmentation in ("flip", "none"):
            self._check_unused()
        if len(self.random_scale) != 2 or self.random_scale[0] > self.random_scale[1]:
            raise UserError(
                f"--random_scale={join(self.random_scale)} must be smallest,largest, e.g. 0.5,2.0"
            )

    def _check_unused(self):
        """Refuses what only the augmentations with crops and colours read."""
        names = ("crop_size", "random_scale", "brightness", "contrast", "saturation", "hue")
        for field in dataclasses.fields(self):
            if field.name in names and getattr(self, field.name) != field.default:
                raise UserError(
                    f"--{field.name} has no effect with --augmentation={self.augmentation}; "
                    "add --augmentation=standard"
                )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Which SegFormer, and where its first weights come from."""

    backbone: str = option(
        "mit-b0",
        "Mix Transformer encoder, by size; init_from decides where given",
        choices=tuple(BACKBONES),
    )
    init_from: str | None = option(
        None,
        "first weights: a Hub id, a local folder (PyTorch or TensorFlow layout), or scratch; "
        "nvidia/<backbone> where not given, scratch for shapes",
    )
    revision: str | None = option(None, "branch, tag or commit of a Hub id")
    freeze_encoder: bool = option(False, "train the decode head only")
    drop_path_rate: float | None = option(
        None,
        "largest chance that stochastic depth skips a block; the checkpoint's where not given, 0 "
        "for scratch",
        minimum=0.0,
        maximum=0.9,
    )

    def __post_init__(self):
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Optimisation: batches, length, schedule and regularisation."""

    train_batch_size: int = option(8, "examples in a training step, over all devices", minimum=1)
    eval_batch_size: int = option(16, "examples in an eval step", minimum=1, resumable=True)
    epochs: int = option(5, "passes over the training split", minimum=1)
    train_steps: int | None = option(
        None, "training steps; counts instead of epochs where given", minimum=1
    )
    learning_rate: float | None = option(
        None, "peak learning rate; 6e-5 for pretrained weights, 1.5e-3 for scratch", above=0.0
    )
    lr_schedule: str = option(
        "polynomial",
        "polynomial: warm-up, then decay to 0; piecewise: lr_values between lr_boundaries; "
        "constant: after the warm-up",
        choices=("polynomial", "piecewise", "constant"),
    )
    lr_power: float = option(1.0, "power of the polynomial decay; 1 is linear", above=0.0)
    lr_boundaries: tuple[int, ...] = option(
        (), "steps at which the piecewise schedule takes its next value", minimum=0
    )
    lr_values: tuple[float, ...] = option(
        (), "learning rates of the piecewise schedule, one more than boundaries", above=0.0
    )
    warmup_steps: int | None = option(
        None, "steps of linear warm-up; a twentieth of the training where not given", minimum=0
    )
    weight_decay: float = option(
        0.01, "decoupled weight decay; norms and biases are left out", minimum=0.0
    )
    gradient_clip_norm: float | None = option(
        1.0, "largest global norm of the gradient; none for no clipping", above=0.0
    )
    class_weights: str | None = option(
        None,
        "weight of each class in the training loss, as class=weight,class=weight by name; classes "
        "that are not named weigh 1; the evaluation's loss stays without weights",
    )
    label_smoothing: float = option(
        0.0,
        "share of the training loss that is spread over all classes, in [0, 1)",
        minimum=0.0,
        below=1.0,
    )
    monitor: str = option(
        "val_mean_iou",
        "figure that decides which weights are best",
        choices=("val_mean_iou", "val_loss"),
    )
    precision: str = option(
        "float32",
        "dtype of the arithmetic; weights, loss and what is saved are float32 in each",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    jit_compile: bool = option(False, "compile the training step with XLA", resumable=True)
    seed: int = option(0, "seed of weights, order and augmentation", minimum=0, maximum=2**32 - 1)
    deterministic: bool = option(
        False, "the same bits on every run, with slower ops; some ops lack such a form on a GPU"
    )

    def __post_init__(self):
        check_fields(self)
        if self.class_weights is not None:
            class_weights_lib.parse(self.class_weights)
        if self.jit_compile and self.deterministic:
            raise UserError("--deterministic needs --nojit_compile: XLA draws without a seed")
        if self.lr_schedule == "piecewise":
            check_piecewise(self)
        elif self.lr_boundaries or self.lr_values:
            raise UserError(
                "--lr_boundaries and --lr_values need --lr_schedule=piecewise, "
                f"received --lr_schedule={self.lr_schedule}"
            )


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Where a run writes, how often, and what it leaves."""

    model_dir: str | None = option(
        None, "folder of the run; runs/<dataset> where not given", resumable=True
    )
    eval_every: int = option(1, "epochs between two evaluations", minimum=1, resumable=True)
    checkpoint_every: int = option(1, "epochs between two checkpoints", minimum=1, resumable=True)
    keep_checkpoints: int = option(2, "newest checkpoints to keep", minimum=1, resumable=True)
    resume: bool = option(True, "go on from the newest checkpoint in model_dir", resumable=True)
    export: bool = option(True, "write saved_model/<version>/ after training", resumable=True)

    def __post_init__(self):
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything `python -m tfseg.train` needs."""

    data: DataConfig = DataConfig()
    train_data: TrainDataConfig = TrainDataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    run: RunConfig = RunConfig()


@dataclasses.dataclass(frozen=True)
class EvalRunConfig:
    """Which model is scored, and where the figures go."""

    model: str | None = option(None, "folder or Hub id of the model to score", required=True)
    eval_batch_size: int = option(16, "examples in an eval step", minimum=1)
    output: str | None = option(None, "JSON file for the figures, besides the printed table")

    def __post_init__(self):
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Everything `python -m tfseg.eval` needs; `image_size` defaults to the model's own."""

    run: EvalRunConfig = EvalRunConfig()
    data: DataConfig = DataConfig()


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """Everything `python -m tfseg.predict` needs besides the files it is given."""

    model: str | None = option(None, "folder or Hub id of the model", required=True)
    output_dir: str = option(
        "predictions", "folder for X_classes.png, X_overlay.png and X.json of each image X"
    )
    image_size: tuple[int, int] | None = option(
        None, "height,width in pixels that images are resized to; the model's own where not given"
    )
    overlay_opacity: float = option(
        0.5, "opacity of the class colours on the overlay", minimum=0.0, maximum=1.0
    )
    on_bad_example: str = option(
        "error", "an unreadable image: stop and name it, or skip it and count",
        choices=("error", "skip"),
    )  # fmt: skip

    def __post_init__(self):
        check_fields(self)
        check_size("image_size", self.image_size)


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Everything `python -m tfseg.export` needs."""

    model: str | None = option(None, "folder or Hub id of the model", required=True)
    export_dir: str | None = option(
        None, "base folder for TF Serving; the model is written to <export_dir>/<version>",
        required=True,
    )  # fmt: skip
    version: int | None = option(
        None, "version number; one above the newest in export_dir where not given", minimum=1
    )
    image_size: tuple[int, int] | None = option(
        None, "height,width in pixels that the graph resizes to; the model's own where not given"
    )

    def __post_init__(self):
        check_fields(self)
        check_size("image_size", self.image_size)
