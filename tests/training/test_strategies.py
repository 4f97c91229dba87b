"""Which strategy is built, and what is refused before anything is."""

import contextlib
import json

import pytest
import tensorflow as tf

from tests.hosts import find_closed_url
from tfseg import devices
from tfseg.config import TrainingConfig
from tfseg.errors import UserError
from tfseg.training import cluster, strategies

TWO_WORKERS = json.dumps(
    {
        "cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]},
        "task": {"type": "worker", "index": 0},
    }
)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("TF_CONFIG", "TPU_NAME"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def messages(caplog):
    caplog.set_level("INFO", "tfseg")
    return caplog


@pytest.mark.parametrize("name", ["auto", "one_device"])
def test_one_device_is_tensorflows_default(messages, name):
    strategy = strategies.build_strategy(name)
    assert strategy is tf.distribute.get_strategy()
    assert messages.messages == ["strategy one_device: 1 replica"]
    assert strategies.is_chief(strategy)


def test_mirrored_over_one_device_works_and_says_so(messages):
    strategy = strategies.build_strategy("mirrored")
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == 1
    words = "strategy mirrored: 1 replica, because there is one device to mirror over"
    assert words in messages.messages


def hold_devices(environment, kind, count):
    """Lets TensorFlow list so many devices; none of them is used."""
    found = [f"/physical_device:{kind}:{index}" for index in range(count)]
    environment.setattr(
        tf.config, "list_physical_devices", lambda asked=None: found if asked == kind else []
    )


@pytest.mark.parametrize(
    ("kind", "count", "tf_config", "expected"),
    [
        ("TPU", 4, "", "tpu"),
        ("GPU", 2, "", "mirrored"),
        ("GPU", 1, "", "one_device"),
        ("GPU", 8, TWO_WORKERS, "multi_worker"),
    ],
)
def test_auto_takes_what_there_is(environment, kind, count, tf_config, expected):
    environment.setenv("TF_CONFIG", tf_config)
    hold_devices(environment, kind, count)
    assert strategies.choose_strategy(cluster.read_cluster(), None) == expected


def test_multi_worker_needs_a_tf_config():
    with pytest.raises(UserError, match=r"--strategy=multi_worker needs .* TF_CONFIG"):
        strategies.build_strategy("multi_worker")


@pytest.mark.parametrize("name", ["one_device", "mirrored", "tpu"])
def test_a_strategy_of_one_process_contradicts_several_workers(environment, name):
    environment.setenv("TF_CONFIG", TWO_WORKERS)
    words = f"--strategy={name} trains in one process, but .* TF_CONFIG lists 2 workers"
    with pytest.raises(UserError, match=words):
        strategies.build_strategy(name)


def test_a_named_tpu_contradicts_a_strategy_without_one():
    with pytest.raises(UserError, match="--tpu=pod needs --strategy=tpu or auto, received mirr"):
        strategies.build_strategy("mirrored", tpu="pod")


def test_a_malformed_tf_config_is_refused_for_every_strategy(environment):
    environment.setenv("TF_CONFIG", "{")
    for name in ("auto", "one_device", "mirrored", "multi_worker"):
        with pytest.raises(UserError, match="TF_CONFIG is not JSON"):
            strategies.build_strategy(name)


@pytest.mark.parametrize("is_variable", [False, True])
def test_a_tpu_name_that_does_not_resolve(environment, is_variable):
    if is_variable:
        environment.setenv("TPU_NAME", "nowhere")
    with pytest.raises(UserError, match="--tpu=nowhere: no TPU can be reached") as error:
        strategies.build_strategy("auto", tpu=None if is_variable else "nowhere")
    assert "\n" not in str(error.value)


def test_a_tpu_address_that_does_not_answer():
    address = find_closed_url().replace("http://", "grpc://")
    with pytest.raises(UserError, match=f"--tpu={address} does not answer"):
        strategies.build_strategy("tpu", tpu=address)


class Replicas:
    """Stands for a strategy of so many replicas."""

    def __init__(self, count):
        self.num_replicas_in_sync = count

    def scope(self):
        return contextlib.nullcontext()


@pytest.mark.parametrize(
    ("batch_size", "count", "words"),
    [
        (9, 4, "--train_batch_size=9 .* 4 replicas; the nearest sizes that can are 8 and 12"),
        (3, 4, "--train_batch_size=3 .* 4 replicas; the nearest size that can is 4"),
    ],
)
def test_a_batch_that_the_replicas_do_not_divide(batch_size, count, words):
    with pytest.raises(UserError, match=words):
        strategies.check_training(TrainingConfig(train_batch_size=batch_size), Replicas(count))


@pytest.mark.parametrize(("batch_size", "count"), [(8, 4), (4, 4), (7, 1)])
def test_a_batch_that_the_replicas_divide(batch_size, count):
    strategies.check_training(TrainingConfig(train_batch_size=batch_size), Replicas(count))


def test_replicas_on_cpus_cannot_compile_the_whole_step(environment):
    training = TrainingConfig(jit_compile=True)
    strategies.check_training(training, Replicas(1))
    with pytest.raises(UserError, match=r"--jit_compile needs one replica, .* received 2 replicas"):
        strategies.check_training(training, Replicas(2))
    for kind in ("GPU", "TPU"):
        environment.setattr(devices, "device_kind", lambda kind=kind: kind)
        strategies.check_training(training, Replicas(2))


@pytest.mark.parametrize(
    ("kind", "by_default", "on_request"),
    [("CPU", False, True), ("GPU", True, True), ("TPU", False, False)],
)
def test_what_keras_compiles_with_xla(environment, kind, by_default, on_request):
    """A TPUStrategy compiles by itself."""
    environment.setattr(devices, "device_kind", lambda: kind)
    for training, expected in (
        (TrainingConfig(), by_default),
        (TrainingConfig(jit_compile=True), on_request),
        (TrainingConfig(jit_compile=False), False),
        (TrainingConfig(deterministic=True), False),
    ):
        assert strategies.compiles_step(training, Replicas(1)) == expected
