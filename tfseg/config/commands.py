"""The configurations of the commands: train, doctor, eval, predict, export, push and demo."""

from __future__ import annotations

import dataclasses

from tfseg.config import views
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
    """What is evaluated, how, and where the results are written."""

    model: str | None = option(
        None,
        "model to evaluate, unless --predictions is given: a folder, a Hub id, or saved_model:DIR "
        "for a SavedModel that tfseg exported, by its version folder or the folder of all versions",
        required=True,
        unless="predictions",
    )
    predictions: str | None = option(
        None,
        "folder of predicted masks to score instead of a model: PNG files of class ids with the "
        "names of the images, as --save_predictions writes them",
        default_text="--model predicts",
    )
    eval_batch_size: int = option(EVAL_BATCH_SIZE, "examples per evaluation step", minimum=1)
    tta: str | None = option(
        None,
        "test-time augmentation: the mean of the probabilities at several scales of the image "
        "size, and with the word flip also of the mirrored images, e.g. flip,0.75,1.0,1.25; it "
        "takes that many times as long",
        default_text="each image is seen once",
    )
    output: str | None = option(
        None,
        "JSON file for the metrics, which are printed in any case, and the pixel counts of each "
        "image, which --compare reads",
        default_text="no file is written",
    )
    compare: str | None = option(
        None,
        "JSON file that --output wrote for another model; tells which of the two is better on the "
        "same images",
        default_text="nothing is compared",
    )
    save_predictions: str | None = option(
        None,
        "folder for the predicted masks: PNG files of class ids with the names of the images",
        default_text="no mask is written",
    )

    def __post_init__(self):
        check_fields(self)
        if self.tta:
            views.parse(self.tta)
        source = "--predictions" if self.predictions else f"--model={self.model}"
        if self.predictions and self.model:
            raise UserError(
                f"--predictions={self.predictions} are scored without a model, but "
                f"--model={self.model} is given; leave one of the two out"
            )
        if self.tta and (self.predictions or (self.model or "").startswith("saved_model:")):
            raise UserError(f"--tta={self.tta} cannot change what {source} gives; leave it out")
        if self.predictions and self.save_predictions:
            raise UserError(f"--save_predictions has nothing new to write with {source}")


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
