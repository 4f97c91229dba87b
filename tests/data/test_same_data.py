"""One data set in every layout gives the first step of a training the same loss."""

import json
import shutil
from pathlib import Path

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import datasets
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets
from PIL import Image

from tfseg.config import DataConfig, TrainDataConfig
from tfseg.data import pipeline
from tfseg.losses.cross_entropy import SegmentationCrossEntropy

COUNT = 4
NAMES = {"0": "sky", "1": "road", "2": "tree", "3": "car", "4": "person"}
CAMVID = Path(__file__).parents[3] / "shared" / "data" / "camvid"


def draw(folder):
    """Writes JPEG images of different sizes with masks that have a void frame."""
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        size = (40 + 4 * index, 52 - 2 * index)
        mask = rng.integers(0, 5, size).astype(np.uint8)
        mask[:2] = 255
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{index} x.jpg")
        Image.fromarray(mask).save(folder / f"{index} x.png")


def take_camvid(folder):
    """Copies the first photographs of CamVid; classes that the tiny model has not are void."""
    for image in sorted((CAMVID / "images" / "train").iterdir())[:COUNT]:
        shutil.copy(image, folder)
        shutil.copy(CAMVID / "annotations" / "train" / f"{image.stem}.png", folder)


@pytest.fixture(scope="module")
def flat(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("flat")
    request.param(folder)
    return folder


def stems(flat):
    return sorted(path.stem for path in flat.glob("*.jpg"))


def copy(flat, root, image_name, mask_name):
    for stem in stems(flat):
        for suffix, name in ((".jpg", image_name), (".png", mask_name)):
            target = root / name.format(stem)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(flat / f"{stem}{suffix}", target)
    return f"folder:{root}"


def write_list(flat, root):
    dataset = copy(flat, root, "JPEGImages/{}.jpg", "SegmentationClass/{}.png")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("".join(f"{stem}\n" for stem in stems(flat)))
    return dataset


def make_table(flat):
    columns = {"image": ".jpg", "mask": ".png"}
    cells = {
        name: [{"bytes": (flat / f"{stem}{suffix}").read_bytes()} for stem in stems(flat)]
        for name, suffix in columns.items()
    }
    return datasets.Dataset.from_dict(
        cells, datasets.Features(dict.fromkeys(cells, datasets.Image()))
    )


def write_parquet(flat, root):
    make_table(flat).to_parquet(root / "train.parquet")
    return f"hf:{root / 'train.parquet'}"


def save_to_disk(flat, root):
    make_table(flat).save_to_disk(root / "saved")
    return f"hf:{root / 'saved'}"


def write_image_folder(flat, root):
    copy(flat, root, "train/{}.jpg", "train/{}_mask.png")
    lines = [
        {"file_name": f"{stem}.jpg", "mask_file_name": f"{stem}_mask.png"} for stem in stems(flat)
    ]
    (root / "train" / "metadata.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )
    return f"hf:{root}"


def store_with_tfds(flat, root):
    def example(stem):
        files = {"image": f"{stem}.jpg", "mask": f"{stem}.png"}
        return {key: (flat / name).read_bytes() for key, name in files.items()}

    examples = [example(stem) for stem in stems(flat)]
    columns = {key: [each[key] for each in examples] for key in ("image", "mask")}
    features = tensorflow_datasets.features
    tensorflow_datasets.dataset_builders.store_as_tfds_dataset(
        name="street",
        version="1.0.0",
        data_dir=root,
        split_datasets={"train": tf.data.Dataset.from_tensor_slices(columns)},
        features=features.FeaturesDict(
            {"image": features.Image(), "mask": features.Image(shape=(None, None, 1))}
        ),
    )
    return "tfds:street"


FORMS = {
    "ADE20K": lambda flat, root: copy(
        flat, root, "images/train/{}.jpg", "annotations/train/{}.png"
    ),
    "per split": lambda flat, root: copy(flat, root, "train/images/{}.jpg", "train/masks/{}.png"),
    "side by side": lambda flat, root: copy(flat, root, "{}.jpg", "{}_mask.png"),
    "list": write_list,
    "parquet": write_parquet,
    "save_to_disk": save_to_disk,
    "imagefolder": write_image_folder,
    "tfds": store_with_tfds,
}


def first_loss(dataset, model, root, suffix):
    (root / "names.json").write_text(json.dumps(NAMES))
    data = DataConfig(
        dataset=dataset,
        data_dir=str(root),
        id2label=str(root / "names.json"),
        mask_suffix=suffix,
    )
    spec = pipeline.get_spec(data)
    batches = pipeline.build_training(
        pipeline.load_split(spec, data, "train", None),
        TrainDataConfig(augmentation="none"),
        model.preprocessing,
        spec.labels,
        batch_size=COUNT,
        seed=0,
    )
    images, masks = next(iter(batches))
    loss = SegmentationCrossEntropy(spec.labels.ignore_index)
    return float(loss(masks, model(images, training=False)))


@pytest.fixture(scope="module")
def expected(flat, tiny_model, tmp_path_factory):
    root = tmp_path_factory.mktemp("expected")
    return first_loss(FORMS["ADE20K"](flat, root), tiny_model, root, None)


@pytest.mark.parametrize("form", list(FORMS)[1:])
@pytest.mark.parametrize(
    "flat",
    [
        draw,
        pytest.param(
            take_camvid,
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not CAMVID.is_dir(), reason=f"CamVid is not at {CAMVID}"),
            ],
        ),
    ],
    indirect=True,
)
def test_the_first_loss_is_the_same_in_every_layout(
    form, flat, expected, tiny_model, tmp_path, monkeypatch
):
    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    dataset = FORMS[form](flat, tmp_path)
    suffix = "_mask.png" if form == "side by side" else None
    assert 0.5 < expected < 5
    assert first_loss(dataset, tiny_model, tmp_path, suffix) == pytest.approx(expected, abs=1e-6)
