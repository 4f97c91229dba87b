"""The configurations of the commands: train, doctor, eval, predict, export, push and demo."""

from __future__ import annotations

import dataclasses

from tfseg.config.defaults import EVAL_BATCH_SIZE, SIZE_MULTIPLE, TRAIN_BATCH_SIZE
from tfseg.config.hub_section import HubConfig
from tfseg.config.sections import DataConfig, ModelConfig
from tfseg.config.train_data_section import TrainDataConfig
from tfseg.config.training_sections import RunConfig, TrainingConfig
from tfseg.config.validation import check_fields, check_size, option
from tfseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that `python -m tfseg.train` needs."""

    data: DataConfig = dataclasses.field(default=DataConfig())
    train_data: TrainDataConfig = dataclasses.field(default=TrainDataConfig())
    model: ModelConfig = dataclasses.field(default=ModelConfig())
    training: TrainingConfig = dataclasses.field(default=TrainingConfig())
    run: RunConfig = dataclasses.field(default=RunConfig())
    hub: HubConfig = dataclasses.field(default=HubConfig())


@dataclasses.dataclass(frozen=True)
class DoctorRunConfig:
    """Where the findings are written, and what a training is assumed to ask for."""

    output_dir: str = option(
        "doctor", "folder for the findings: doctor.html, doctor.json and perhaps id2label.json"
    )
    train_batch_size: int = option(
        TRAIN_BATCH_SIZE, "examples per training step; a split must hold one batch", minimum=1
    )
    gallery_augmented: bool = option(
        False, "show also a batch as the model sees it, cropped and augmented"
    )

    def __post_init__(self):
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class DoctorConfig:
    """Everything that `python -m tfseg.doctor` needs."""

    run: DoctorRunConfig = dataclasses.field(default=DoctorRunConfig())
    data: DataConfig = dataclasses.field(default=DataConfig())
    train_data: TrainDataConfig = dataclasses.field(default=TrainDataConfig())


@dataclasses.dataclass(frozen=True)
class EvalRunConfig:
    """Which model is evaluated, and where the metrics are written."""

    model: str | None = option(None, "model to evaluate: a folder or a Hub id", required=True)
    eval_batch_size: int = option(EVAL_BATCH_SIZE, "examples per evaluation step", minimum=1)
    output: str | None = option(
        None,
        "JSON file for the metrics, which are printed in any case",
        default_text="no file is written",
    )

    def __post_init__(self):
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Everything that `python -m tfseg.eval` needs; `image_size` defaults to the model's own."""

    run: EvalRunConfig = dataclasses.field(default=EvalRunConfig())
    data: DataConfig = dataclasses.field(default=DataConfig())


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """Everything that `python -m tfseg.predict` needs besides the image files."""

    model: str | None = option(None, "model to use: a folder or a Hub id", required=True)
    output_dir: str = option("predictions", "folder for the results")
    outputs: tuple[str, ...] = option(
        ("classes", "overlay", "json"),
        "what is written for each image X, separated by commas: classes for X_classes.png, an "
        "indexed PNG of class ids in the classes' colours; ids for X_ids.png, the same ids in gray;"
        " overlay for X_overlay.png, the image under the colours, with a legend; masks for a black "
        "and white X_masks/<id>_<class>.png of each class; json for X.json, with the share of each "
        "class and the list that transformers' pipeline gives",
        choices=("classes", "ids", "overlay", "masks", "json"),
    )
    recursive: bool = option(
        False, "segment also the images of the folders inside the given folders"
    )
    image_size: tuple[int, int] | None = option(
        None,
        "size in pixels that images are resized to for the model, as height,width or one number "
        f"for a square; multiples of {SIZE_MULTIPLE}",
        default_text="the model's own",
    )
    overlay_opacity: float = option(
        0.5, "opacity of the class colours in the overlay", minimum=0.0, maximum=1.0
    )
    on_bad_example: str = option(
        "error",
        "what to do with an unreadable image: error stops and names it, skip leaves it out and "
        "counts it",
        choices=("error", "skip"),
    )

    def __post_init__(self):
        check_fields(self)
        check_size("image_size", self.image_size)
        if not self.outputs:
            raise UserError("--outputs is empty, so nothing would be written; e.g. --outputs=json")


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Everything that `python -m tfseg.export` needs."""

    model: str | None = option(None, "model to export: a folder or a Hub id", required=True)
    export_dir: str | None = option(
        None,
        "base folder for TF Serving; the model is written to <export_dir>/<version>",
        required=True,
    )
    version: int | None = option(
        None,
        "version number of the exported model",
        default_text="one above the newest in --export_dir",
        minimum=1,
    )
    image_size: tuple[int, int] | None = option(
        None,
        "size in pixels that the exported graph resizes images to, as height,width or one number "
        f"for a square; multiples of {SIZE_MULTIPLE}",
        default_text="the model's own",
    )

    def __post_init__(self):
        check_fields(self)
        check_size("image_size", self.image_size)


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """Everything that `python -m tfseg.demo` needs."""

    model: str | None = option(None, "model to show: a folder or a Hub id", required=True)
    server_name: str = option(
        "127.0.0.1",
        "address that the page is served at: by default only this machine reaches it, and 0.0.0.0 "
        "lets every machine in the network",
    )
    server_port: int | None = option(
        None,
        "port that the page is served at",
        default_text="the first free one from 7860 on",
        minimum=1,
        maximum=65535,
    )

    def __post_init__(self):
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class PushConfig:
    """Everything that `python -m tfseg.push` needs."""

    model_dir: str | None = option(
        None, "folder of a run, whose best weights are uploaded", required=True
    )
    hub_model_id: str | None = option(
        None,
        "repository to upload to, as name or owner/name; it is created if it is missing",
        default_text="the run's own, or the name of --model_dir under the account that is "
        "logged in",
    )
    hub_private: bool = option(
        False, "create the repository as a private one; a public one is refused"
    )

    def __post_init__(self):
        check_fields(self)
