"""Batches from a tf.data service; `tests/training/test_data_service.py` trains with them."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.hosts import find_closed_url
from tests.input_service import Service
from tfseg.config import DataConfig, TrainDataConfig
from tfseg.data import data_service, pipeline
from tfseg.data.transforms import Preprocessing
from tfseg.errors import UserError

NUM_EXAMPLES, BATCH_SIZE = 8, 2
dispatchers = []
service_lib = tf.data.experimental.service


@pytest.fixture(scope="module")
def service():
    service = Service()
    yield service
    service.end()


@pytest.fixture
def make_batches(folder):
    """A function (service, share) -> endless training batches, augmented."""
    folder.pairs("train", NUM_EXAMPLES)
    data = DataConfig(dataset=f"folder:{folder.root}")
    spec = pipeline.get_spec(data)
    split = pipeline.load_split(spec, data, "train", None)

    def make(service, share=pipeline.EVERYTHING, **options):
        config = TrainDataConfig(data_service=service, **options)
        return pipeline.build_training(
            split,
            config,
            Preprocessing((32, 32)),
            spec.labels,
            batch_size=BATCH_SIZE,
            seed=3,
            first_epoch=1,
            share=share,
        )

    return make


def read(batches, count):
    return list(itertools.islice(batches.as_numpy_iterator(), count))


def assert_same(first, second):
    for (images, masks), (other_images, other_masks) in zip(first, second, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(masks, other_masks)


@pytest.mark.slow
@pytest.mark.parametrize(
    "augmentation", ["standard", pytest.param("mosaic", marks=pytest.mark.slow)]
)
def test_input_workers_make_the_batches_that_the_training_would_make(
    augmentation, service, make_batches
):
    assert data_service.count_input_workers(service.address) == 2
    batches = make_batches(service.address, augmentation=augmentation)
    own = make_batches(None, augmentation=augmentation)
    assert batches.element_spec == own.element_spec
    assert_same(read(batches, 7), read(own, 7))


def test_each_example_comes_once_an_epoch(service, make_batches):
    batches = read(make_batches(service.address, augmentation="none"), 8)
    # Pixels of example i are i times 10, and the first four batches are an epoch.
    pixels = np.concatenate([images[:, 0, 0, 0] for images, _ in batches]).reshape(2, 8)
    first, second = (np.unique(epoch) for epoch in pixels)
    assert len(first) == NUM_EXAMPLES
    np.testing.assert_array_equal(first, second)
    assert pixels[0].tolist() != pixels[1].tolist()


@pytest.mark.slow
def test_several_trainings_take_their_own_shares(service, make_batches):
    for index in range(2):
        share = tf.distribute.InputContext(2, index, 2)
        parts = make_batches(service.address, share, augmentation="standard")
        own = make_batches(None, share, augmentation="standard")
        assert_same(read(parts, 6), read(own, 6))


def test_an_address_where_nobody_listens(make_batches):
    address = f"grpc://localhost:{find_closed_url().rpartition(':')[2]}"
    with pytest.raises(UserError, match=f"--data_service={address} does not answer; start"):
        make_batches(address)


@pytest.mark.parametrize("workers", [["localhost:1"], None], ids=["not started", "not listed"])
def test_no_input_worker_answers(workers):
    # The thread that asks goes on asking, so the dispatcher lives as long as this process.
    dispatchers.append(
        service_lib.DispatchServer(service_lib.DispatcherConfig(worker_addresses=workers))
    )
    words = "none of its input workers answered within 1 seconds; list them all in"
    with pytest.raises(UserError, match=words):
        data_service.count_input_workers(dispatchers[-1].target, seconds=1)


@pytest.mark.parametrize("address", ["localhost:5050", "grpc://localhost", "grpc://a:b"])
def test_an_address_of_another_form(address):
    with pytest.raises(UserError, match=f"--data_service={address} is no address; .* grpc://10"):
        TrainDataConfig(data_service=address)


def test_what_cannot_be_sent_to_another_process_is_refused():
    words = "cannot send --dataset=mine .* use folder: or tfds:, or leave"
    with pytest.raises(UserError, match=words):
        data_service.check_service("grpc://localhost:1", source="huggingface", dataset="mine")


def test_an_error_of_another_kind_stays_what_it_is(service):
    failing = tf.data.Dataset.range(1).map(
        lambda _: tf.debugging.check_numerics(float("nan"), "other")
    )
    with (
        pytest.raises(tf.errors.InvalidArgumentError, match="other"),
        data_service.watching(service.address),
    ):
        list(failing)
