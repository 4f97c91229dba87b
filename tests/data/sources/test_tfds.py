import io
import logging
import re
import tarfile
import time
import zipfile

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets
from PIL import Image
from tensorflow_datasets.core.download import checksums
from tensorflow_datasets.datasets.oxford_iiit_pet import oxford_iiit_pet_dataset_builder as pets
from tensorflow_datasets.datasets.scene_parse150 import scene_parse150_dataset_builder as scenes

from tests import hosts
from tests.data.exif_files import turned_jpeg
from tfseg.config import DataConfig
from tfseg.data import label_table, pipeline
from tfseg.data.bad_examples import naming_bad_examples
from tfseg.data.catalog import get_dataset_spec
from tfseg.data.sources import tfds
from tfseg.errors import UserError

TRAIN = ("Abyssinian_100", "beagle_7", "pug_52")
TEST = ("Abyssinian_201", "pug_63")
BAD = "pug_52"  # In the second set of archives its mask misses a row.
HEAD_BOX = (
    "<annotation><size><width>{width}</width><height>{height}</height></size><object><bndbox>"
    "<xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>"
)


def size_of(name):
    number = int(name.rsplit("_")[-1])
    return 20 + number % 7, 30 + number % 11


def trimap_of(name):
    """Returns stripes of 1, 2 and 3; the length of the name decides the first value."""
    height, width = size_of(name)
    rows = np.arange(height)[:, None] // 4 + len(name)
    return np.broadcast_to(1 + rows % 3, (height, width)).astype(np.uint8).copy()


def encode(array, file_format):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, file_format)
    return buffer.getvalue()


def write_tar(path, files):
    with tarfile.open(path, "w") as archive:  # As the real .tar.gz files, plain tar.
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def list_line(name):
    """Returns the line of an image: breed from 1, species (1 cat, 2 dog), number within it."""
    breed = name.rsplit("_", 1)[0]
    return f"{name} {1 + pets._LABEL_CLASSES.index(breed)} {1 if breed[0].isupper() else 2} 1\n"


def write_archives(folder, trimaps):
    """Writes both archives in the layout of https://www.robots.ox.ac.uk/~vgg/data/pets/."""
    folder.mkdir(exist_ok=True)
    images, annotations = {}, {}
    for name in (*TRAIN, *TEST):
        height, width = size_of(name)
        image = np.full((height, width, 3), 200, np.uint8)
        images[f"images/{name}.jpg"] = encode(image, "JPEG")
        annotations[f"annotations/trimaps/{name}.png"] = encode(trimaps[name], "PNG")
        if name in TRAIN:
            box = HEAD_BOX.format(height=height, width=width)
            annotations[f"annotations/xmls/{name}.xml"] = box.encode()
    for list_name, names in (("trainval", TRAIN), ("test", TEST)):
        lines = "".join(list_line(name) for name in names)
        annotations[f"annotations/{list_name}.txt"] = lines.encode()
    write_tar(folder / "images.tar.gz", images)
    write_tar(folder / "annotations.tar.gz", annotations)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archives")
    write_archives(folder, {name: trimap_of(name) for name in (*TRAIN, *TEST)})
    return folder


@pytest.fixture(scope="module", autouse=True)
def no_proxy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield


@pytest.fixture(scope="module")
def host(archives):
    host = hosts.Host(archives)
    yield host
    host.close()


def point_to(patch, url, folder):
    """Gives TFDS's own builder another address and the checksums of the archives there."""
    infos = {
        f"{url}/{name}": checksums.compute_url_info(folder / name)
        for name in ("images.tar.gz", "annotations.tar.gz")
    }
    patch.setattr(pets, "_BASE_URL", url)
    patch.setattr(pets.Builder, "url_infos", infos)


@pytest.fixture(scope="module")
def data_dir(host, archives, tmp_path_factory):
    """Downloaded and prepared by the first call of `load`."""
    folder = str(tmp_path_factory.mktemp("prepared"))
    with pytest.MonkeyPatch.context() as patch:
        point_to(patch, host.url, archives)
        tfds.load("oxford_iiit_pet", "train", data_dir=folder)
    return folder


@pytest.fixture
def closed_url():
    return hosts.find_closed_url()


def names_of(split):
    return sorted(example["name"].decode() for example in split.examples.as_numpy_iterator())


def test_examples_hold_raw_values(data_dir):
    split = tfds.load("oxford_iiit_pet", "train", data_dir=data_dir)
    assert split.num_examples == len(split.examples) == len(TRAIN)
    assert names_of(split) == sorted(f"{name}.jpg" for name in TRAIN)
    for example in split.examples.as_numpy_iterator():
        name = example["name"].decode().removesuffix(".jpg")
        np.testing.assert_array_equal(example["mask"], trimap_of(name))
        assert example["mask"].dtype == np.int32
        assert example["image"].shape == (*size_of(name), 3)
        assert np.abs(example["image"].astype(int) - 200).max() <= 2


@pytest.mark.parametrize("name", ["oxford_iiit_pet", "oxford_iiit_pet:4.0.0"])
def test_pipeline_gives_class_ids(name, data_dir):
    spec = get_dataset_spec(name)
    config = DataConfig(dataset=name, data_dir=data_dir)
    split = pipeline.load_split(spec, config, spec.eval_split, None)
    assert split.num_examples == len(TEST)
    for example in split.examples.as_numpy_iterator():
        stem = example["name"].decode().removesuffix(".jpg")
        np.testing.assert_array_equal(example["mask"], trimap_of(stem) - 1)


@pytest.mark.parametrize("name", ["oxford_iiit_pet", "oxford_iiit_pet:4.0.0"])
def test_resolved_name_has_the_version(name, data_dir):
    assert tfds.resolved_name(name, data_dir) == "oxford_iiit_pet:4.0.0"


def test_resolved_name_keeps_a_config(tmp_path):
    name = tfds.resolved_name("cityscapes/semantic_segmentation", str(tmp_path))
    assert name == "cityscapes/semantic_segmentation:1.0.0"
    assert tfds.open_builder(name, str(tmp_path)).info.full_name.endswith("/1.0.0")


@pytest.mark.parametrize("prefix", ["", "tfds:"])
def test_versioned_name_opens_the_same_builder(prefix, data_dir, tmp_path):
    """A run writes this name to its train.flags, so --dataset must take it."""
    names = tmp_path / "names.json"
    names.write_text('{"1": "pet", "2": "background"}')
    name = f"{prefix}oxford_iiit_pet"
    spec = get_dataset_spec(name, id2label=str(names))
    versioned = pipeline.versioned_name(DataConfig(dataset=name, data_dir=data_dir), spec)
    assert versioned == f"{prefix}oxford_iiit_pet:4.0.0"
    again = get_dataset_spec(versioned, id2label=str(names))
    builders = [tfds.open_builder(each.path, data_dir) for each in (spec, again)]
    assert builders[0].info.full_name == builders[1].info.full_name
    config = DataConfig(dataset=versioned, data_dir=data_dir)
    assert pipeline.versioned_name(config, again) == versioned


def test_prepared_data_set_needs_no_network(data_dir, archives, closed_url, monkeypatch):
    point_to(monkeypatch, closed_url, archives)
    assert len(names_of(tfds.load("oxford_iiit_pet", "test", data_dir=data_dir))) == len(TEST)


def test_max_examples_and_slices(data_dir):
    split = tfds.load("oxford_iiit_pet", "train[:2]", data_dir=data_dir, max_examples=1)
    assert split.num_examples == len(list(split.examples)) == 1


def test_digest_tells_version_split_and_number_of_examples(data_dir):
    def digest(path="oxford_iiit_pet", split="train", **options):
        return tfds.load(path, split, data_dir=data_dir, **options).digest

    assert digest() == digest("oxford_iiit_pet:4.0.0")
    others = [digest(split="test"), digest(split="train[:2]"), digest(max_examples=2)]
    assert len({digest(), *others}) == 4


def test_digest_of_a_data_set_prepared_again_with_other_masks(data_dir, bad_data_dir):
    """The version stays the same; only the number of bytes tells that the masks differ."""
    digests = {
        tfds.load("oxford_iiit_pet", "train", data_dir=folder).digest
        for folder in (data_dir, bad_data_dir)
    }
    assert len(digests) == 2


def test_order_is_the_same_each_time(data_dir):
    first, second = (
        [example["name"] for example in split.examples.as_numpy_iterator()]
        for split in (tfds.load("oxford_iiit_pet", "train", data_dir=data_dir),) * 2
    )
    assert first == second


def test_unreachable_host_is_one_error_within_seconds(tmp_path, archives, closed_url, monkeypatch):
    point_to(monkeypatch, closed_url, archives)
    started = time.monotonic()
    with pytest.raises(UserError) as error:
        tfds.load("oxford_iiit_pet", "train", data_dir=str(tmp_path))
    assert time.monotonic() - started < 20
    for part in (closed_url, str(tmp_path), "oxford_iiit_pet/4.0.0", "--data_dir=DIR",
                 "--dataset=shapes"):  # fmt: skip
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert not any(tmp_path.iterdir())


def test_archives_in_the_manual_folder_need_no_network(tmp_path, archives, closed_url, monkeypatch):
    point_to(monkeypatch, closed_url, archives)
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "images.tar.gz").write_bytes((archives / "images.tar.gz").read_bytes())
    with pytest.raises(UserError, match=r"/annotations.tar.gz does not answer"):
        tfds.load("oxford_iiit_pet", "test", data_dir=str(tmp_path))
    (manual / "annotations.tar.gz").write_bytes((archives / "annotations.tar.gz").read_bytes())
    split = tfds.load("oxford_iiit_pet", "test", data_dir=str(tmp_path))
    assert names_of(split) == sorted(f"{name}.jpg" for name in TEST)


def test_damaged_download_is_one_error(tmp_path, archives, host, monkeypatch):
    point_to(monkeypatch, host.url, archives)
    info = pets.Builder.url_infos[f"{host.url}/annotations.tar.gz"]
    monkeypatch.setattr(info, "checksum", "0" * 64)
    with pytest.raises(UserError, match=r"wrong checksum.*--data_dir, or use --dataset=shapes"):
        tfds.load("oxford_iiit_pet", "train", data_dir=str(tmp_path))


def test_archives_that_only_a_person_may_download(tmp_path):
    with pytest.raises(UserError, match=r"Manual directory .*/downloads/manual does not exist"):
        tfds.load("cityscapes", "train", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("oxford_iit_pet", r"knows no such data set, did you mean 'oxford_iiit_pet'\?"),
        ("oxford_iiit_pet:3.2.0", "cannot be loaded at version 3.2.0, only: 4.0.0"),
        ("oxford_iiit_pet/small", "BuilderConfig small not found"),
    ],
)
def test_unknown_name_version_and_config(name, message, tmp_path):
    with pytest.raises(UserError, match=message):
        tfds.load(name, "train", data_dir=str(tmp_path))


def test_unknown_split_lists_the_known_ones(data_dir):
    with pytest.raises(UserError, match=r"no split 'validation' \(allowed: train, test, and sli"):
        tfds.load("oxford_iiit_pet", "validation", data_dir=data_dir)


def test_unknown_features_list_the_known_ones(data_dir):
    with pytest.raises(UserError, match=r"--mask_key=mask is no feature .*segmentation_mask"):
        tfds.load("oxford_iiit_pet", "train", data_dir=data_dir, mask_key="mask")
    with pytest.raises(UserError, match=r"--image_key=picture is no feature .*allowed: .*image"):
        tfds.load("oxford_iiit_pet", "train", data_dir=data_dir, image_key="picture")


@pytest.fixture(scope="module")
def bad_data_dir(tmp_path_factory):
    """The mask of one training example holds a value without a name and misses a row."""
    trimaps = {name: trimap_of(name) for name in (*TRAIN, *TEST)}
    trimaps[BAD] = trimaps[BAD][1:]
    trimaps[TEST[0]][0, 0] = 7
    archives = tmp_path_factory.mktemp("bad_archives")
    write_archives(archives, trimaps)
    folder = str(tmp_path_factory.mktemp("bad"))
    host = hosts.Host(archives)
    with pytest.MonkeyPatch.context() as patch:
        point_to(patch, host.url, archives)
        tfds.load("oxford_iiit_pet", "train", data_dir=folder)
    host.close()
    return folder


def load_bad(bad_data_dir, split, *, strict=False, on_bad_example="error"):
    spec = get_dataset_spec("oxford_iiit_pet", strict_labels=strict)
    config = DataConfig(data_dir=bad_data_dir, on_bad_example=on_bad_example)
    return pipeline.load_split(spec, config, split, None)


def test_mask_of_another_size_is_an_error_that_names_it(bad_data_dir):
    examples = load_bad(bad_data_dir, "train").examples
    height, width = size_of(BAD)
    message = (
        f"bad example {BAD}.jpg: its mask is {height - 1}x{width} (height x width) but the image "
        f"is {height}x{width}; repair it, or --on_bad_example=skip to go on without it"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"), naming_bad_examples():
        list(examples)


def test_mask_of_another_size_is_skipped_and_counted(bad_data_dir, caplog):
    with caplog.at_level(logging.WARNING):
        split = load_bad(bad_data_dir, "train", on_bad_example="skip")
    assert names_of(split) == sorted(f"{name}.jpg" for name in TRAIN if name != BAD)
    assert split.num_examples == len(TRAIN) - 1
    assert "skipped 1 of 3 examples" in caplog.text


def test_a_value_without_a_name_is_void_or_an_error(bad_data_dir):
    (void,) = (
        np.argwhere(example["mask"] == 255).tolist()
        for example in load_bad(bad_data_dir, "test").examples.as_numpy_iterator()
        if example["name"].decode() == f"{TEST[0]}.jpg"
    )
    assert void == [[0, 0]]
    message = f"bad example {TEST[0]}.jpg: its mask holds the value 7, which --id2label does not n"
    with pytest.raises(UserError, match=message), naming_bad_examples():
        list(load_bad(bad_data_dir, "test", strict=True).examples)
    skipped = load_bad(bad_data_dir, "test", strict=True, on_bad_example="skip")
    assert len(list(skipped.examples)) == skipped.num_examples == 1


@pytest.mark.parametrize("task", ["species", "breed"])
def test_the_class_of_the_animal_stands_in_place_of_the_pet(task, data_dir):
    spec = get_dataset_spec("oxford_iiit_pet", pet_task=task)
    config = DataConfig(dataset="oxford_iiit_pet", data_dir=data_dir, pet_task=task)
    (cat, *dogs) = sorted(
        pipeline.load_split(spec, config, "train", None).examples.as_numpy_iterator(),
        key=lambda example: example["name"],
    )
    names = spec.labels.names
    for example, expected in ((cat, "cat"), *((dog, "dog") for dog in dogs)):
        stem = example["name"].decode().removesuffix(".jpg")
        expected = stem.rsplit("_", 1)[0] if task == "breed" else expected
        trimap = trimap_of(stem)
        assert {names[value] for value in example["mask"][trimap == 1]} == {expected}
        assert (example["mask"][trimap == 2] == 0).all()
        assert (example["mask"][trimap == 3] == 255).all()


def test_scene_parse150_holds_kinds_of_objects_in_the_red_channel(tmp_path, monkeypatch):
    """TFDS reads the annotations of the instance task: red is the kind, green the instance."""
    annotation = np.zeros((6, 8, 3), np.uint8)
    annotation[:2, :, 0], annotation[:2, :, 1] = 4, 7
    annotation[5, :, 0], annotation[5, :, 1] = 100, 9
    parts, image = ("training", "validation"), np.zeros((6, 8, 3), np.uint8)
    images = {f"images/{part}/ADE_1.jpg": encode(image, "JPEG") for part in parts}
    masks = {f"annotations_instance/{part}/ADE_1.png": encode(annotation, "PNG") for part in parts}
    write_tar(tmp_path / "images.tar", images)
    write_tar(tmp_path / "annotations.tar", masks)
    host = hosts.Host(tmp_path)
    urls = {"images": f"{host.url}/images.tar", "annotations": f"{host.url}/annotations.tar"}
    monkeypatch.setattr(scenes, "_TRAIN_URL", urls)
    infos = {
        url: checksums.compute_url_info(tmp_path / url.rsplit("/")[-1]) for url in urls.values()
    }
    monkeypatch.setattr(scenes.Builder, "url_infos", infos)
    spec = get_dataset_spec("scene_parse150", strict_labels=True)
    config = DataConfig(dataset="scene_parse150", data_dir=str(tmp_path / "prepared"))
    split = pipeline.load_split(spec, config, spec.eval_split, None)
    host.close()
    (example,) = split.examples.as_numpy_iterator()
    named = {value: spec.labels.names[value] for value in np.unique(example["mask"]) if value < 255}
    assert named == {3: "person", 99: "flag"}
    assert (example["mask"][2:5] == 255).all()


@pytest.fixture
def cut_off(tmp_path):
    """A TFDS data set of three examples; the image of the second is half a JPEG file."""
    rng = np.random.default_rng(0)
    images = [encode(rng.integers(0, 256, (32, 32, 3), np.uint8), "JPEG") for _ in range(3)]
    images[1] = images[1][: len(images[1]) // 2]
    masks = [encode(rng.integers(0, 2, (32, 32), np.uint8), "PNG")] * 3
    features = tensorflow_datasets.features
    tensorflow_datasets.dataset_builders.store_as_tfds_dataset(
        name="cut_off",
        version="1.0.0",
        data_dir=tmp_path,
        split_datasets={
            "train": tf.data.Dataset.from_tensor_slices({"image": images, "mask": masks})
        },
        features=features.FeaturesDict(
            {"image": features.Image(), "mask": features.Image(shape=(None, None, 1))}
        ),
    )
    (tmp_path / "names.json").write_text('{"0": "sky", "1": "road"}')
    return {
        "dataset": "tfds:cut_off",
        "data_dir": str(tmp_path),
        "id2label": str(tmp_path / "names.json"),
    }


def test_a_cut_off_image_is_one_line(cut_off, capfd):
    config = DataConfig(**cut_off)
    split = pipeline.load_split(pipeline.get_spec(config), config, "train", None)
    message = r"cannot be decoded \(the end of a JPEG file is missing\); .*skip to name"
    with pytest.raises(UserError, match=message), naming_bad_examples():
        list(split.examples)
    assert "Premature end of JPEG" not in capfd.readouterr().err


def test_a_cut_off_image_is_skipped_and_named(cut_off, caplog):
    config = DataConfig(on_bad_example="skip", **cut_off)
    spec = pipeline.get_spec(config)
    with caplog.at_level(logging.INFO):
        split = pipeline.load_split(spec, config, "train", None)
        label_table.log_labels(split, spec.labels, reduce_labels=False)
    assert names_of(split) == ["train_0", "train_2"]
    assert "skipped: train_1" in caplog.text
    assert "road" in caplog.text


def test_cityscapes_from_its_own_archives(tmp_path):
    """TFDS's builder takes the two archives that a person downloads."""
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    mask = np.zeros((1024, 2048), np.uint8)
    mask[:, :100], mask[:, 100:200], mask[:, 200:300] = 7, 33, 9  # road, bicycle, parking
    pictures = {"leftImg8bit": np.zeros((1024, 2048, 3), np.uint8), "gtFine_labelIds": mask}
    for root, kind in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")):
        with zipfile.ZipFile(manual / f"{root}_trainvaltest.zip", "w") as archive:
            for split in ("train", "val", "test"):
                name = f"{root}/{split}/ulm/ulm_000000_000019_{kind}.png"
                archive.writestr(name, encode(pictures[kind], "PNG"))
    spec = get_dataset_spec("cityscapes", strict_labels=True)
    config = DataConfig(dataset="cityscapes", data_dir=str(tmp_path))
    split = pipeline.load_split(spec, config, spec.eval_split, None)
    (example,) = split.examples.as_numpy_iterator()
    assert example["image"].shape == (1024, 2048, 3)
    names = [spec.labels.names[value] for value in example["mask"][0, [50, 150]]]
    assert names == ["road", "bicycle"]
    assert (example["mask"][:, 200:] == 255).all()


class Unlisted(tensorflow_datasets.core.GeneratorBasedBuilder):
    """A builder without registered checksums, with masks `[height, width]` and no names."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tensorflow_datasets.features.Image(shape=(None, None, 3)),
            "label": tensorflow_datasets.features.Tensor(shape=(4, 6), dtype=np.uint16),
        }
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=tensorflow_datasets.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        mask = np.full((4, 6), 1000, np.uint16)
        yield 0, {"image": np.zeros((4, 6, 3), np.uint8), "label": mask}


def test_builder_without_checksums_and_names(tmp_path):
    (example,) = tfds.load("unlisted", "train", data_dir=str(tmp_path)).examples
    example = {key: value.numpy() for key, value in example.items()}
    assert example["name"] == b"train_0"
    assert example["mask"].dtype == np.int32
    assert (example["mask"] == 1000).all()


class Declared(tensorflow_datasets.core.GeneratorBasedBuilder):
    """A builder whose features have names of its own, and whose masks declare their classes."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")

    def _info(self):
        features = {
            "label": tensorflow_datasets.features.ClassLabel(num_classes=2),
            "photo": tensorflow_datasets.features.Image(),
            "ground_truth": tensorflow_datasets.features.LabeledImage(labels=["sky", "sea"]),
        }
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=tensorflow_datasets.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        mask = np.arange(6, dtype=np.uint8).reshape(2, 3, 1) % 2
        yield 0, {"label": 1, "photo": np.zeros((2, 3, 3), np.uint8), "ground_truth": mask}


def test_features_and_names_are_found_by_type(tmp_path):
    spec = get_dataset_spec("tfds:declared", data_dir=str(tmp_path))
    assert spec.labels.names == ("sky", "sea")
    config = DataConfig(dataset="tfds:declared", data_dir=str(tmp_path))
    (example,) = pipeline.load_split(spec, config, "train", None).examples.as_numpy_iterator()
    assert example["mask"].tolist() == [[0, 1, 0], [1, 0, 1]]


def test_a_data_set_without_masks(tmp_path):
    message = r"no mask stands out of cifar10 \(allowed: .*image.*\); choose one with --mask_key"
    builder = tensorflow_datasets.builder("cifar10", data_dir=str(tmp_path))
    with pytest.raises(UserError, match=message):
        tfds._feature_keys(builder, "cifar10", None, None)


@pytest.mark.parametrize("apply_exif", [True, False])
def test_photographs_and_masks_of_the_stored_size_are_turned(apply_exif, tmp_path):
    rng = np.random.default_rng(0)
    photograph = turned_jpeg(rng.integers(0, 256, (8, 12, 3), np.uint8), 8)
    mask = rng.integers(0, 3, (8, 12, 1), np.uint8)
    example = {"image": photograph, "segmentation_mask": mask}
    tensorflow_datasets.dataset_builders.store_as_tfds_dataset(
        name="turned",
        version="1.0.0",
        data_dir=tmp_path / "data",
        split_datasets={"train": tf.data.Dataset.from_tensors(example)},
        features=tensorflow_datasets.features.FeaturesDict(
            {
                "image": tensorflow_datasets.features.Image(),
                "segmentation_mask": tensorflow_datasets.features.Image(shape=(None, None, 1)),
            }
        ),
    )
    data_dir = str(tmp_path / "data")
    (example,) = tfds.load("turned", "train", data_dir=data_dir, apply_exif=apply_exif).examples
    expected = np.rot90(mask[..., 0]) if apply_exif else mask[..., 0]
    np.testing.assert_array_equal(example["mask"], expected)
    assert example["image"].shape == (*expected.shape, 3)
