"""The sections on optimisation and on the run's files, as those in `tfseg.config.sections`."""

from __future__ import annotations

import dataclasses

from tfseg.config import class_weights as class_weights_lib
from tfseg.config.defaults import (
    EVAL_BATCH_SIZE,
    PRETRAINED_LEARNING_RATE,
    SCRATCH_LEARNING_RATE,
    STRATEGIES,
    TRAIN_BATCH_SIZE,
    WARMUP_DIVISOR,
)
from tfseg.config.validation import check_fields, check_piecewise, check_range, option
from tfseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Optimisation: batch sizes, length, learning-rate schedule and regularisation."""

    train_batch_size: int = option(
        TRAIN_BATCH_SIZE, "examples per training step, over all devices", minimum=1
    )
    eval_batch_size: int = option(
        EVAL_BATCH_SIZE, "examples per evaluation step", minimum=1, resumable=True
    )
    epochs: int = option(5, "number of passes over the training split", minimum=1)
    train_steps: int | None = option(
        None, "total training steps; overrides --epochs", default_text="--epochs decides", minimum=1
    )
    learning_rate: float | None = option(
        None,
        "peak learning rate",
        default_text=f"{PRETRAINED_LEARNING_RATE:g} for pretrained weights, "
        f"or {SCRATCH_LEARNING_RATE:g} from scratch",
        above=0.0,
    )
    lr_schedule: str = option(
        "polynomial",
        "learning-rate schedule. polynomial: warm-up, then decay to 0; piecewise: the values of "
        "--lr_values between --lr_boundaries; constant: warm-up, then the peak",
        choices=("polynomial", "piecewise", "constant"),
    )
    lr_power: float = option(1.0, "power of the polynomial decay; 1 is linear", above=0.0)
    lr_boundaries: tuple[int, ...] = option(
        (),
        "training steps at which the piecewise schedule switches to its next value",
        default_text="none",
        minimum=0,
    )
    lr_values: tuple[float, ...] = option(
        (),
        "learning rates of the piecewise schedule, one more than --lr_boundaries",
        default_text="none",
        above=0.0,
    )
    warmup_steps: int | None = option(
        None,
        "training steps of linear learning-rate warm-up",
        default_text=f"1/{WARMUP_DIVISOR} of the training steps",
        minimum=0,
    )
    weight_decay: float = option(
        0.01, "decoupled weight decay of AdamW; norms and biases are exempt", minimum=0.0
    )
    gradient_clip_norm: float | None = option(
        1.0, "maximum global norm of the gradient; none switches clipping off", above=0.0
    )
    class_weights: str | None = option(
        None,
        "weight of each class in the training loss by class name, as class=weight,class=weight; "
        "classes that are not named have weight 1; the evaluation loss is not weighted",
        default_text="every class has weight 1",
    )
    label_smoothing: float = option(
        0.0, "label-smoothing factor of the training loss", minimum=0.0, below=1.0
    )
    monitor: str = option(
        "val_mean_iou",
        "metric that selects the best checkpoint",
        choices=("val_mean_iou", "val_loss"),
    )
    precision: str = option(
        "float32",
        "data type of the computation; weights, loss and saved files are always float32",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    jit_compile: bool | None = option(
        None,
        "compile the whole training step with XLA; a TPU does so in any case",
        default_text="yes on the GPUs of one machine, no on a CPU and with --deterministic",
        resumable=True,
    )
    seed: int = option(
        0,
        "seed of initial weights, example order and augmentation",
        minimum=0,
        maximum=2**32 - 1,
    )
    deterministic: bool = option(
        False,
        "repeat a run bit by bit, with slower operations; on a GPU some operations cannot",
    )

    def __post_init__(self):
        check_fields(self)
        if self.class_weights is not None:
            class_weights_lib.parse(self.class_weights)
        if self.jit_compile and self.deterministic:
            raise UserError(
                "--deterministic needs --nojit_compile: XLA draws random numbers without a seed"
            )
        if self.lr_schedule == "piecewise":
            check_piecewise(self)
        elif self.lr_boundaries or self.lr_values:
            raise UserError(
                "--lr_boundaries and --lr_values need --lr_schedule=piecewise, "
                f"received --lr_schedule={self.lr_schedule}"
            )


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Which devices a run uses, where it writes, how often, and what it keeps."""

    strategy: str = option(
        "auto",
        "devices to train on. auto: a TPU if --tpu names one or this machine has one, the workers "
        "of TF_CONFIG if it lists several, all GPUs if there are several, else one device; "
        "mirrored: all GPUs of this machine, or all logical CPU devices; multi_worker: the workers "
        "of TF_CONFIG, which must share --model_dir; tpu: --tpu",
        choices=STRATEGIES,
        resumable=True,
    )
    tpu: str | None = option(
        None,
        "name or grpc:// address of a TPU, or local for the TPU of this machine",
        default_text="the environment variable TPU_NAME",
        resumable=True,
    )
    steps_per_execution: int = option(
        1,
        "training steps per call of the compiled training function; more save time between short "
        "steps on a GPU or a TPU",
        minimum=1,
        resumable=True,
    )

    model_dir: str | None = option(
        None, "folder of the run", default_text="runs/<dataset>", resumable=True
    )
    eval_every: int = option(1, "epochs between evaluations", minimum=1, resumable=True)
    checkpoint_every: int = option(1, "epochs between checkpoints", minimum=1, resumable=True)
    keep_checkpoints: int = option(
        2, "number of checkpoints to keep, the newest ones", minimum=1, resumable=True
    )
    resume: bool = option(
        True, "continue from the newest checkpoint in --model_dir", resumable=True
    )
    export: bool = option(
        True, "write a SavedModel to <model_dir>/saved_model/<version> at the end", resumable=True
    )
    profile_steps: tuple[int, ...] = option(
        (),
        "range of training steps to profile for TensorBoard, as first,last",
        default_text="no profile",
        minimum=1,
        resumable=True,
    )

    def __post_init__(self):
        check_fields(self)
        if self.profile_steps:
            check_range("profile_steps", self.profile_steps, "10,20", names="first,last")
