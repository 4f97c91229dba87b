"""What a configuration leaves open, and what `train.flags` states in its place."""

import json
import shutil

import pytest

from tests import hosts
from tfseg.config import DataConfig, ModelConfig, TrainConfig, TrainingConfig, serialization
from tfseg.data.catalog import get_dataset_spec
from tfseg.data.sources.shapes import Shapes
from tfseg.data.sources.shapes_drawing import CLASS_NAMES
from tfseg.errors import UserError
from tfseg.training import resolution


def resolve(**sections):
    config = TrainConfig(**sections)
    return resolution.resolve_config(config, get_dataset_spec(config.data.dataset))


def test_open_fields_come_from_the_data_set():
    config = resolve()
    assert (config.train_data.train_split, config.data.eval_split) == ("train", "test")
    assert (config.data.image_size, config.train_data.augmentation) == ((128, 128), "flip")
    assert (config.model.init_from, config.run.model_dir) == ("scratch", "runs/shapes")


@pytest.mark.parametrize(
    ("init_from", "drop_path_rate", "learning_rate"),
    [("scratch", 0.0, 1.5e-3), ("nvidia/mit-b0", None, 6e-5)],
)
def test_defaults_that_depend_on_the_first_weights(init_from, drop_path_rate, learning_rate):
    config = resolve(model=ModelConfig(init_from=init_from))
    assert config.model.drop_path_rate == drop_path_rate
    assert config.training.learning_rate == learning_rate


def test_what_was_given_stays():
    config = resolve(
        data=DataConfig(image_size=(64, 96), eval_split="train"),
        model=ModelConfig(drop_path_rate=0.2),
        training=TrainingConfig(learning_rate=0.5),
    )
    assert (config.data.image_size, config.data.eval_split) == ((64, 96), "train")
    assert (config.model.drop_path_rate, config.training.learning_rate) == (0.2, 0.5)


def test_a_held_out_part_is_one_of_the_training_split(boxes_dir):
    dataset = f"folder:{boxes_dir}"
    config = resolve(data=DataConfig(dataset=dataset, eval_fraction=0.2))
    assert config.data.eval_split == config.train_data.train_split == "train"
    with pytest.raises(
        UserError, match=r"--eval_fraction=0\.2 .*split train, but --eval_split=val"
    ):
        resolve(data=DataConfig(dataset=dataset, eval_fraction=0.2, eval_split="val"))


def test_a_local_folder_has_no_version_to_resolve(boxes_dir, plain_model_dir):
    config = resolve(
        data=DataConfig(dataset=f"folder:{boxes_dir}"), model=ModelConfig(init_from=plain_model_dir)
    )
    spec = get_dataset_spec(config.data.dataset)
    assert resolution.resolve_versions(config, spec) == config


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("oxford_iiit_pet", "runs/oxford_iiit_pet"),
        ("folder:../data/camvid/", "runs/camvid"),
        ("hf:segments/sidewalk semantic", "runs/segments_sidewalk_semantic"),
        ("folder:/", "runs/dataset"),
        ("folder:/data/mine/..", "runs/data"),
        ("oxford_iiit_pet:4.0.0", "runs/oxford_iiit_pet_4.0.0"),
    ],
)
def test_default_model_dir(dataset, expected):
    assert resolution.default_model_dir(dataset) == expected


def test_the_version_of_a_tfds_data_set_is_written_down(tmp_path):
    Shapes(config="tiny", data_dir=tmp_path).download_and_prepare()
    names = tmp_path / "names.json"
    names.write_text(json.dumps(dict(enumerate(CLASS_NAMES))))
    data = DataConfig(dataset="tfds:shapes/tiny", data_dir=str(tmp_path), id2label=str(names))
    config = TrainConfig(data=data, model=ModelConfig(init_from="scratch"))
    spec = get_dataset_spec(data.dataset, id2label=data.id2label)
    config = resolution.resolve_versions(resolution.resolve_config(config, spec), spec)
    assert config.data.dataset == "tfds:shapes/tiny:1.0.0"
    assert config.run.model_dir == "runs/shapes_tiny"
    flagfile = serialization.flagfile_text(config, "python -m tfseg.train")
    assert "--dataset=tfds:shapes/tiny:1.0.0\n" in flagfile


def test_the_commit_of_weights_from_the_hub_is_written_down(local_hub, plain_model_dir, boxes_dir):
    shutil.copytree(plain_model_dir, local_hub / "somebody" / "boxes")
    data = DataConfig(dataset=f"folder:{boxes_dir}")
    config = resolve(data=data, model=ModelConfig(init_from="somebody/boxes"))
    config = resolution.resolve_versions(config, get_dataset_spec(data.dataset))
    assert config.model == ModelConfig(init_from="somebody/boxes", revision=hosts.COMMIT)
