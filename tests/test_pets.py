"""Real photographs of pets through TFDS's own builder, where they are at hand."""

import base64
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import hosts
from tests.data.sources.test_tfds import point_to
from tests.serving.test_bundle import run_cpp_loader
from tfseg import serving
from tfseg.config import (
    DataConfig,
    EvalConfig,
    EvalRunConfig,
    ModelConfig,
    PredictConfig,
    RunConfig,
    TrainConfig,
    TrainDataConfig,
    TrainingConfig,
)
from tfseg.data import pipeline
from tfseg.evaluation.run import run_evaluation
from tfseg.models import segformer
from tfseg.serving import prediction
from tfseg.training.run import run_training

PETS = Path(__file__).parents[2] / "shared" / "data" / "oxford_iiit_pet"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PETS.is_dir(), reason=f"Oxford-IIIT Pet is not at {PETS}"),
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Downloaded from a host here, and prepared, by TFDS's builder."""
    archives = tmp_path_factory.mktemp("archives")
    for name in ("images", "annotations"):
        with tarfile.open(
            archives / f"{name}.tar.gz", "w"
        ) as archive:  # plain tar, as the real one
            archive.add(PETS / name, name)
    folder = str(tmp_path_factory.mktemp("prepared"))
    host = hosts.Host(archives)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        point_to(patch, host.url, archives)
        assert load(folder, "trimap", "train").num_examples == 300
    host.close()
    return folder


def load(data_dir, task, split):
    config = DataConfig(dataset="oxford_iiit_pet", data_dir=data_dir, pet_task=task)
    return pipeline.load_split(pipeline.get_spec(config), config, split, None)


def listed(name):
    """Returns the breed (from 1) and species (1 cat, 2 dog) of each image, as text."""
    lines = (PETS / "annotations" / f"{name}.txt").read_text().splitlines()
    return {f"{line.split()[0]}.jpg": line.split()[1:3] for line in lines}


def pixels_of(image):
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(("task", "column", "first"), [("species", 1, 1), ("breed", 0, 1)])
def test_every_mask_is_the_trimap_with_the_class_of_the_animal(task, column, first, data_dir):
    expected = listed("test")
    seen = set()
    for example in load(data_dir, task, "test").examples.as_numpy_iterator():
        name = example["name"].decode()
        trimap = np.asarray(Image.open(PETS / "annotations/trimaps" / f"{Path(name).stem}.png"))
        class_id = int(expected[name][column])
        mask = np.select([trimap == 1, trimap == 2], [class_id - 1 + first, 0], 255)
        np.testing.assert_array_equal(example["mask"], mask)
        seen.add(class_id)
    assert len(seen) == (2 if task == "species" else 3)


def test_photographs_have_the_pixels_that_pil_decodes(data_dir):
    examples = load(data_dir, "trimap", "train").examples.as_numpy_iterator()
    images = {example["name"].decode(): example["image"] for example in examples}
    assert set(images) == set(listed("trainval"))
    for name in sorted(images)[::20]:
        original = Image.open(PETS / "images" / name)
        np.testing.assert_array_equal(images[name], pixels_of(original))


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    model_dir = tmp_path_factory.mktemp("runs") / "pets"
    config = TrainConfig(
        data=DataConfig(
            dataset="oxford_iiit_pet",
            data_dir=data_dir,
            pet_task="foreground",
            image_size=(96, 96),
        ),
        train_data=TrainDataConfig(augmentation="flip"),
        model=ModelConfig(init_from="scratch"),
        training=TrainingConfig(epochs=6, learning_rate=6e-4),
        run=RunConfig(model_dir=str(model_dir), eval_every=3),
    )
    return model_dir, run_training(config)


def test_a_training_tells_pets_from_their_background(run):
    _, figures = run
    assert figures["mean_iou"] > 0.5


def test_the_best_model_scores_what_the_training_reported(run, data_dir):
    model_dir, figures = run
    data = DataConfig(dataset="oxford_iiit_pet", data_dir=data_dir, pet_task="foreground")
    scored = run_evaluation(EvalConfig(data=data, run=EvalRunConfig(model=str(model_dir / "best"))))
    assert scored["mean_iou"] == pytest.approx(figures["mean_iou"], abs=1e-4)


def test_the_served_mask_is_the_predicted_one(run, tmp_path):
    model_dir, _ = run
    photo = PETS / "images" / sorted(listed("test"))[0]
    config = PredictConfig(model=str(model_dir / "best"), output_dir=str(tmp_path))
    prediction.run_prediction(config, [str(photo)])
    report = run_cpp_loader(model_dir / "saved_model" / "1", "serving_default", photo)
    served = Image.open(io.BytesIO(base64.b64decode(report["outputs"]["mask_png_bytes"][0])))
    predicted = np.asarray(Image.open(tmp_path / f"{photo.stem}_classes.png"))
    np.testing.assert_array_equal(np.asarray(served), predicted)


def test_pytorchs_pipeline_gives_the_same_masks(run):
    """A few resized values are one level of 255 off; they decide pixels between two classes."""
    import transformers

    folder = str(run[0] / "best")
    pipeline = transformers.pipeline("image-segmentation", model=folder, framework="pt")
    model, shares = segformer.load_model(folder), []
    for name in sorted(listed("test"))[::3]:
        path = PETS / "images" / name
        theirs = {found["label"]: found["mask"] for found in pipeline(str(path))}
        ours = {found["label"]: found["mask"] for found in serving.segment(path, model)}
        assert ours.keys() == theirs.keys()
        # Each pixel that differs is in two masks of each side.
        shares.append(
            sum(np.mean(pixels_of(ours[label]) != pixels_of(theirs[label])) / 2 for label in ours)
        )
    assert len(shares) == 20
    assert np.mean(shares) <= 1e-3
