"""Each example comes once, at its own size, from one pipeline or from several."""

import numpy as np
import pytest
import tensorflow as tf

from tests.data.counted import COUNT, LABELS, PREPROCESSING, Records, Source, make_shares
from tfseg import devices
from tfseg.config import TrainDataConfig
from tfseg.data import evaluation_batches, pipeline
from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split
from tfseg.data.transforms import Preprocessing


@pytest.fixture
def source():
    return Source()


@pytest.mark.parametrize("ignore_index", [255, -1])
def test_evaluation_sees_every_example_once_at_its_own_size(source, ignore_index):
    labels = LabelSpec(LABELS.names, ignore_index=ignore_index)
    batches = evaluation_batches.build_evaluation(source.split, PREPROCESSING, labels, batch_size=4)
    assert batches.element_spec[0].shape.as_list() == [None, 32, 32, 3]
    seen, batch_sizes = [], []
    for images, masks, sizes in batches.as_numpy_iterator():
        batch_sizes.append(len(images))
        assert masks.shape[1:] == tuple(sizes.max(0))
        for image, mask, (height, width) in zip(images, masks, sizes, strict=True):
            index = int(mask[0, 0])
            assert (height, width) == (40 + 2 * index, 60 - 3 * index)
            assert (mask[:height, :width] == index).all()
            assert (mask[height:] == ignore_index).all()
            assert (mask[:, width:] == ignore_index).all()
            np.testing.assert_allclose(image, (index + 10) / 25.5, atol=1e-5)
            seen.append(index)
    assert seen == list(range(COUNT))
    assert batch_sizes == [4, 4, 2]


@pytest.mark.parametrize("mask_size", [None, (60, 60)])
def test_scales_give_each_image_at_several_sizes_that_the_network_takes(source, mask_size):
    batches = evaluation_batches.build_evaluation(
        source.split,
        PREPROCESSING,
        LABELS,
        batch_size=4,
        scales=(0.5, 1.0, 2.7),
        mask_size=mask_size,
    )
    seen = []
    for images, masks, _ in batches.as_numpy_iterator():
        assert [view.shape[1:] for view in images] == [(32, 32, 3), (32, 32, 3), (96, 96, 3)]
        for view in images:
            expected = (
                np.where(masks[:, 0, 0] == LABELS.ignore_index, 0, masks[:, 0, 0] + 10) / 25.5
            )
            assert view.max((1, 2, 3)) == pytest.approx(expected, abs=1e-5)
        seen += masks[:, 0, 0].tolist()
    assert seen[:COUNT] == list(range(COUNT))
    assert len(seen) == (12 if mask_size else COUNT)


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_the_shares_of_an_evaluation_hold_every_example_once(cache):
    sources, sizes, seen = [], [], []
    for share in make_shares(3, 6):
        sources.append(Records())
        batches = evaluation_batches.build_evaluation(
            sources[-1].split, PREPROCESSING, LABELS, batch_size=12, cache=cache, share=share
        )
        for _, masks, _ in batches.as_numpy_iterator():
            sizes.append(len(masks))
            seen += masks[:, 0, 0].tolist()
    assert sorted(seen) == list(range(COUNT))
    assert max(sizes) == 2
    decoded = [index for source in sources for index in set(source.reads)]
    assert sorted(decoded) == list(range(COUNT)), "each pipeline decodes its own examples only"


@pytest.mark.parametrize(("num_pipelines", "num_replicas"), [(1, 1), (1, 2), (3, 6), (4, 4)])
def test_evaluations_of_fixed_shape_hold_every_example_once(num_pipelines, num_replicas):
    seen, lengths = [], set()
    for share in make_shares(num_pipelines, num_replicas):
        split = Records().split
        assert evaluation_batches.choose_mask_size(split) is None
        with devices.asking_for(devices.GPU):
            mask_size = evaluation_batches.choose_mask_size(split)
        assert mask_size == (40 + 2 * (COUNT - 1), 60)
        batches = evaluation_batches.build_evaluation(
            split, PREPROCESSING, LABELS, batch_size=12, mask_size=mask_size, share=share
        )
        replica_batch = 12 // num_replicas
        assert batches.element_spec[0].shape == [replica_batch, 32, 32, 3]
        assert batches.element_spec[1].shape == [replica_batch, *mask_size]
        lengths.add(len(list(batches)))
        for _, masks, sizes in batches.as_numpy_iterator():
            is_empty = sizes.prod(-1) == 0
            assert (masks[is_empty] == LABELS.ignore_index).all()
            seen += masks[~is_empty, 0, 0].tolist()
    assert sorted(seen) == list(range(COUNT))
    assert lengths == {num_replicas // num_pipelines}, "all replicas have equally many batches"


def test_evaluation_prepares_images_as_training_without_augmentation(rng):
    image = rng.integers(0, 256, (50, 70, 3), np.uint8)
    example = {"image": image, "mask": np.zeros((50, 70), np.int32), "name": "x"}
    split = Split("train", tf.data.Dataset.from_tensors(example), 1, "digest")
    preprocessing = Preprocessing((32, 64))
    (evaluated, _, _) = next(
        iter(evaluation_batches.build_evaluation(split, preprocessing, LABELS, batch_size=1))
    )
    config = TrainDataConfig(augmentation="none")
    (trained, _) = next(
        iter(pipeline.build_training(split, config, preprocessing, LABELS, batch_size=1, seed=0))
    )
    np.testing.assert_array_equal(evaluated, trained)
