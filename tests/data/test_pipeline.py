import dataclasses
import itertools
import logging
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.counted import COUNT, LABELS, PREPROCESSING, Records, Source, make_shares
from tfseg.config import DataConfig, TrainDataConfig
from tfseg.data import pipeline
from tfseg.data.catalog import get_dataset_spec
from tfseg.errors import UserError

PLAIN = TrainDataConfig(augmentation="none")
SCALE = (0.5, 2.0)
AUGMENTED = TrainDataConfig(augmentation="standard", random_scale=SCALE)
BASIC = TrainDataConfig(augmentation="basic", contrast=(0.5, 2.0))
RAND_AUGMENT = TrainDataConfig(augmentation="rand_augment")
# Without colours and a second try of crops, the graph of four crops is built sooner.
MOSAIC = TrainDataConfig(
    augmentation="mosaic",
    max_class_share=1.0,
    brightness=0.0,
    contrast=(0.0,),
    saturation=(0.0,),
    hue=0.0,
)
CUTOUT = TrainDataConfig(augmentation="cutout")


@pytest.fixture
def source():
    return Source()


def train(source, config=PLAIN, batch_size=4, seed=3, **options):
    return pipeline.build_training(
        source.split, config, PREPROCESSING, LABELS, batch_size=batch_size, seed=seed, **options
    )


def read(batches, count):
    return [
        (images.copy(), masks.copy())
        for images, masks in itertools.islice(batches.as_numpy_iterator(), count)
    ]


def order(batches, steps, steps_per_epoch=5):
    """Returns which example each item of the batches is, one row per epoch."""
    masks = np.concatenate([masks[:, 0, 0] for _, masks in read(batches, steps)])
    return masks.reshape(-1, len(masks) * steps_per_epoch // steps).tolist()


def assert_same(first, second):
    for (images, masks), (other_images, other_masks) in zip(first, second, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(masks, other_masks)


def test_batches_without_augmentation(source):
    batches = train(source)
    assert batches.element_spec == (
        tf.TensorSpec((4, 32, 32, 3), tf.float32),
        tf.TensorSpec((4, 32, 32), tf.int32),
    )
    for images, masks in read(batches, 5):
        # The pixels identify the example: image and mask of one example stay together.
        np.testing.assert_allclose(
            images * 25.5 - 10, np.repeat(masks[..., None], 3, -1), atol=1e-4
        )


def test_basic_batches_are_whole_images_flipped_and_in_other_colours(source):
    plain, changed = (read(train(source, config), 5) for config in (PLAIN, BASIC))
    for (images, masks), (other_images, other_masks) in zip(plain, changed, strict=True):
        # Each mask has one value, so that its flip does not show.
        np.testing.assert_array_equal(masks, other_masks)
        assert np.abs(images - other_images).max() > 0.02


def test_batches_with_augmentation(source):
    config = TrainDataConfig(crop_size=(64, 32), random_scale=SCALE)
    batches = train(source, config)
    assert batches.element_spec == (
        tf.TensorSpec((4, 64, 32, 3), tf.float32),
        tf.TensorSpec((4, 64, 32), tf.int32),
    )
    for images, masks in read(batches, 6):
        assert np.isfinite(images).all()
        assert set(np.unique(masks)) <= {*range(10), LABELS.ignore_index}
        # Beyond the image is the mean colour.
        assert (images[masks == LABELS.ignore_index] == 0).all()
        assert (masks == LABELS.ignore_index).any()


def test_batches_of_mosaics_hold_each_example_with_those_that_follow(source):
    orders = order(train(source, batch_size=5), 4, steps_per_epoch=2)
    mosaics = np.concatenate([masks for _, masks in read(train(source, MOSAIC, batch_size=5), 4)])
    for number, mask in enumerate(mosaics):
        following = orders[number // COUNT][number % COUNT :][:4]
        assert set(np.unique(mask)) <= {*following, LABELS.ignore_index}
        # A quarter may lie where a small image leaves room.
        assert len(np.unique(mask)) > len(following) // 2


def test_cutout_takes_pixels_and_leaves_their_classes(source):
    whole, cut = (read(train(source, config), 5) for config in (AUGMENTED, CUTOUT))
    for (images, masks), (other_images, other_masks) in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(masks, other_masks)
        is_cut = (images != other_images).any(-1)
        assert is_cut.any()
        assert (other_images[is_cut] == 0).all()  # the mean colour


@pytest.mark.parametrize("cache", ["memory", "none"])
@pytest.mark.parametrize(
    "config",
    [
        PLAIN,
        AUGMENTED,
        BASIC,
        MOSAIC,
        pytest.param(RAND_AUGMENT, marks=pytest.mark.slow),
        pytest.param(CUTOUT, marks=pytest.mark.slow),
    ],
    ids=lambda config: config.augmentation,
)
def test_resumed_run_sees_the_batches_of_the_uninterrupted_one(cache, config):
    config = dataclasses.replace(config, cache=cache)
    uninterrupted = read(train(Source(), config), 3 * 2)
    assert_same(read(train(Source(), config, first_epoch=2), 2), uninterrupted[4:])


def test_batches_depend_on_the_seed_alone(source):
    tf.random.set_seed(0)
    first = read(train(source, AUGMENTED), 4)
    tf.random.set_seed(7)
    assert_same(read(train(source, AUGMENTED), 4), first)
    other = read(train(source, AUGMENTED, seed=4), 4)
    assert not any(np.array_equal(a, b) for (a, _), (b, _) in zip(first, other, strict=True))


def test_building_leaves_the_global_seed_alone(source):
    tf.random.set_seed(7)
    expected = float(tf.random.uniform(()))
    tf.random.set_seed(7)
    read(train(source, AUGMENTED), 1)
    assert float(tf.random.uniform(())) == expected


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_each_epoch_holds_each_example_once_in_another_order(cache):
    epochs = order(train(Source(), TrainDataConfig(augmentation="none", cache=cache), 2), 20)
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_each_epoch_drops_other_examples(source):
    epochs = order(train(source, batch_size=4), 12, steps_per_epoch=2)
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert len({frozenset(epoch) for epoch in epochs}) > 1


def test_augmentation_of_an_example_differs_between_epochs():
    batches = train(Source(1), AUGMENTED, batch_size=1)
    crops = {images.tobytes() for images, _ in read(batches, 5)}
    assert len(crops) == 5


def test_augmentation_differs_between_the_examples_of_a_batch():
    source = Source(1)
    source.examples = source.examples.repeat(6)
    ((images, _),) = read(train(source, AUGMENTED, batch_size=6), 1)
    assert len({image.tobytes() for image in images}) == 6


@pytest.mark.parametrize("cache", ["none", "memory"])
@pytest.mark.parametrize(
    ("num_pipelines", "num_replicas"),
    [(1, 2), (2, 2), (2, 4), pytest.param(4, 4, marks=pytest.mark.slow)],
)
def test_the_shares_together_are_the_batches_of_one_device(cache, num_pipelines, num_replicas):
    check_shares(dataclasses.replace(AUGMENTED, cache=cache), num_pipelines, num_replicas)


@pytest.mark.parametrize("cache", ["none", pytest.param("memory", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "config",
    [MOSAIC, *(pytest.param(each, marks=pytest.mark.slow) for each in (CUTOUT, RAND_AUGMENT))],
    ids=lambda config: config.augmentation,
)
def test_the_shares_of_other_augmentations_are_the_batches_of_one_device(config, cache):
    check_shares(dataclasses.replace(config, cache=cache), num_pipelines=2, num_replicas=2)


def check_shares(config, num_pipelines, num_replicas):
    whole = read(train(Records(), config, batch_size=4), 5)
    per_pipeline = [
        read(train(Records(), config, batch_size=4, share=share), 5 * num_replicas // num_pipelines)
        for share in make_shares(num_pipelines, num_replicas)
    ]
    slices = num_replicas // num_pipelines
    for step, (images, masks) in enumerate(whole):
        parts = [part for each in per_pipeline for part in each[step * slices :][:slices]]
        assert {len(part) for part, _ in parts} == {4 // num_replicas}
        np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), images)
        np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), masks)


def test_a_share_decodes_only_its_own_examples():
    config = dataclasses.replace(AUGMENTED, cache="none")
    reads = []
    for share in make_shares(2, 2):
        source = Records()
        batches = train(source, config, batch_size=COUNT, share=share)
        source.reads.clear()  # the look at the first examples, for the size of the buffer
        read(batches, 1)
        # A pipeline may read ahead into the next epoch, but only when it has all of this one.
        reads += source.reads[: COUNT // 2]
    assert sorted(reads) == list(range(COUNT))


def test_cache_reads_the_source_once_and_augments_afterwards(source):
    config = TrainDataConfig(cache="memory", random_scale=SCALE)
    batches = read(train(source, config, batch_size=5), 8)
    assert sorted(source.reads) == list(range(COUNT))
    assert len({images.tobytes() for images, _ in batches}) == 8


def test_mosaics_of_cached_examples_read_the_source_once(source):
    config = dataclasses.replace(MOSAIC, cache="memory")
    read(train(source, config, batch_size=5), 4)
    assert sorted(source.reads) == list(range(COUNT))


def test_without_cache_the_source_is_read_every_epoch(source):
    read(train(source, dataclasses.replace(AUGMENTED, cache="none"), batch_size=5), 8)
    assert all(source.reads.count(index) >= 4 for index in range(COUNT))


def test_batch_larger_than_the_data_set(source):
    with pytest.raises(UserError, match="--train_batch_size=11 is larger than the 10 training"):
        train(source, batch_size=11)
    assert order(train(source, batch_size=10), 1, 1)[0] != list(range(COUNT))


def folder_spec(folder, **options):
    return get_dataset_spec(f"folder:{folder.root}", **options)


def test_load_split_of_a_folder_to_batches(folder):
    folder.pairs("train", 6)
    spec = folder_spec(folder, ignore_index=99)
    config = DataConfig(dataset=spec.name)
    split = pipeline.load_split(spec, config, "train", None)
    assert split.name == "train"
    assert split.num_examples == len(split.examples) == 6
    loaded = list(split.examples.as_numpy_iterator())
    assert [int(example["mask"][0, 0]) for example in loaded] == [0, 1, 2, 0, 1, 2]
    batches = pipeline.build_training(
        split, AUGMENTED, PREPROCESSING, spec.labels, batch_size=3, seed=0
    )
    assert set(np.unique([masks for _, masks in read(batches, 2)])) <= {0, 1, 2, 99}


def test_load_split_maps_raw_values_to_class_ids(folder):
    mask = np.array([[0, 10, 20], [30, 255, 10]], np.uint8)
    folder.pair("train", "a", np.zeros((2, 3, 3), np.uint8), mask)
    spec = folder_spec(folder, reduce_labels=True)
    config = DataConfig(dataset=spec.name, reduce_labels=True)
    split = pipeline.load_split(spec, config, "train", None)
    (example,) = split.examples.as_numpy_iterator()
    assert example["mask"].tolist() == [[255, 0, 1], [2, 255, 0]]
    assert example["mask"].dtype == np.int32


def test_max_examples_takes_the_first(folder):
    folder.pairs("train", 5)
    spec = folder_spec(folder)
    split = pipeline.load_split(spec, DataConfig(dataset=spec.name), "train", 2)
    names = [example["name"].decode() for example in split.examples.as_numpy_iterator()]
    assert [name.rsplit("/")[-1] for name in names] == ["000.png", "001.png"]
    assert split.num_examples == 2


def digest_of(root, max_examples=None):
    spec = get_dataset_spec(f"folder:{root}")
    return pipeline.load_split(spec, DataConfig(dataset=spec.name), "train", max_examples).digest


def test_digest_of_a_folder_does_not_change_with_its_path(folder, tmp_path):
    folder.pairs("train", 4)
    digest = digest_of(folder.root)
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert digest_of(folder.root) == digest
    shutil.move(folder.root, tmp_path / "elsewhere")
    assert digest_of(tmp_path / "elsewhere") == digest


def change_one_pixel(folder):
    mask = np.full((9, 12), 1, np.uint8)  # as in the second pair of `FolderWriter.pairs`
    mask[3, 5] = 2
    Image.fromarray(mask).save(folder.mask_path("train", "001.png"))


def add_a_pair(folder):
    folder.pair("train", "004")


def remove_a_pair(folder):
    folder.image_path("train", "003.png").unlink()
    folder.mask_path("train", "003.png").unlink()


def swap_two_pairs(folder):
    for path in (folder.image_path, folder.mask_path):
        path("train", "000.png").rename(path("train", "x.png"))


@pytest.mark.parametrize("change", [change_one_pixel, add_a_pair, remove_a_pair, swap_two_pairs])
def test_digest_of_a_folder_changes_with_its_content(change, folder):
    folder.pairs("train", 4)
    digest = digest_of(folder.root)
    change(folder)
    assert digest_of(folder.root) != digest


def test_digest_covers_the_examples_that_max_examples_leaves(folder):
    folder.pairs("train", 4)
    first_two = digest_of(folder.root, 2)
    assert first_two != digest_of(folder.root)
    add_a_pair(folder)
    assert digest_of(folder.root, 2) == first_two


def test_data_sets_without_versions_keep_their_names(folder):
    folder.pairs("train", 2)
    for spec in (get_dataset_spec("shapes"), folder_spec(folder)):
        assert pipeline.versioned_name(DataConfig(dataset=spec.name), spec) == spec.name


def test_skip_reaches_the_folder(folder, caplog):
    folder.pairs("train", 3)
    folder.image_path("train", "001.png").write_bytes(b"damaged")
    spec = folder_spec(folder)
    config = DataConfig(dataset=spec.name, on_bad_example="skip")
    with caplog.at_level(logging.WARNING):
        split = pipeline.load_split(spec, config, "train", None)
    assert split.num_examples == len(split.examples) == 2
    assert "skipped 1 of 3 examples of split train" in caplog.text


def test_strict_labels_take_the_bytes_of_shapes(tmp_path, monkeypatch):
    from tfseg.data.sources import shapes

    monkeypatch.setattr(shapes.Shapes.builder_configs["full"], "num_examples", (2, 3))
    spec = get_dataset_spec("shapes", strict_labels=True)
    config = DataConfig(strict_labels=True, data_dir=str(tmp_path))
    split = pipeline.load_split(spec, config, "test", 2)
    assert split.num_examples == 2
    for example in split.examples.as_numpy_iterator():
        assert example["mask"].dtype == np.int32
        assert set(np.unique(example["mask"])) <= {*range(6), 255}
