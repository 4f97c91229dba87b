"""Distribution strategies: on which devices a training runs. The library is `tf.distribute`.

https://www.tensorflow.org/guide/distributed_training
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

import tensorflow as tf

from tfseg import devices, network
from tfseg.config.training_sections import TrainingConfig
from tfseg.errors import UserError
from tfseg.training import cluster as cluster_lib
from tfseg.training.cluster import Cluster

_logger = logging.getLogger(__name__)

# What an exchange between workers raises when one of them is gone.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)


def build_strategy(name: str = "auto", *, tpu: str | None = None) -> tf.distribute.Strategy:
    """Builds the strategy of a training, and logs its name and its number of replicas.

    Call it before anything else uses TensorFlow: a strategy for several processes or for a TPU
    must set up the devices itself.

    Args:
        name: `auto` takes what there is: a TPU if one is named or this machine has one, the workers
            of TF_CONFIG if it lists several, all GPUs if there are several, else one device.
            `one_device` is TensorFlow's default. `mirrored` takes all GPUs, or all logical CPU
            devices if there is no GPU. `multi_worker` takes the workers of TF_CONFIG, and `tpu` a
            TPU.
        tpu: Name or gRPC address of a TPU. By default the environment variable TPU_NAME.

    Raises:
        UserError: TF_CONFIG is malformed or contradicts `name`, a worker does not answer within a
            minute, or the TPU cannot be found.
    """
    cluster = cluster_lib.read_cluster()
    if tpu and name not in ("auto", "tpu"):
        raise UserError(f"--tpu={tpu} needs --strategy=tpu or auto, received {name}")
    tpu = tpu or os.environ.get("TPU_NAME")
    name = choose_strategy(cluster, tpu) if name == "auto" else name
    _check_against_cluster(name, cluster)
    if cluster.num_workers > 1:
        cluster_lib.wait_for_workers(cluster)
    strategy = _build(name, tpu)
    _log(name, strategy, cluster)
    return strategy


def choose_strategy(cluster: Cluster, tpu: str | None) -> str:
    """Returns what `auto` stands for on this machine."""
    # Physical devices, because asking for logical ones would set the devices up.
    if tpu or tf.config.list_physical_devices("TPU"):
        return "tpu"
    if cluster.num_workers > 1:
        return "multi_worker"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one_device"


def _check_against_cluster(name: str, cluster: Cluster) -> None:
    if name == "multi_worker" and not cluster.addresses:
        raise UserError(
            "--strategy=multi_worker needs the environment variable TF_CONFIG, which lists the "
            "workers; --strategy=mirrored uses all devices of one machine"
        )
    if name != "multi_worker" and cluster.num_workers > 1:
        raise UserError(
            f"--strategy={name} trains in one process, but the environment variable TF_CONFIG "
            f"lists {cluster.num_workers} workers; set --strategy=multi_worker, or unset TF_CONFIG"
        )


def _build(name: str, tpu: str | None) -> tf.distribute.Strategy:
    if name == "multi_worker":
        return _build_multi_worker()
    if name == "tpu":
        return _build_tpu(tpu)
    if name == "mirrored":
        kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        devices = [device.name for device in tf.config.list_logical_devices(kind)]
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.get_strategy()


def _build_multi_worker() -> tf.distribute.Strategy:
    # Workers without GPUs exchange 15 MB of gradients in 44 ms in packs of 4 MB, and in 63 ms as
    # one, whose copies leave the cache of a core. 0 leaves the size to TensorFlow.
    pack = 0 if tf.config.list_physical_devices("GPU") else 4_000_000
    options = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=pack)
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def _build_tpu(tpu: str | None) -> tf.distribute.Strategy:
    """Connects to a TPU; without a name, to the one of this machine."""
    if tpu and tpu.startswith("grpc://") and not network.port_answers(tpu):
        raise UserError(f"--tpu={tpu} does not answer; check the address and the network")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu or "local")
    # The resolver asks Google Cloud, through a client that may be missing or find no network.
    except (tf.errors.OpError, ImportError, ValueError, RuntimeError, OSError) as error:
        name = f"--tpu={tpu}" if tpu else "--strategy=tpu without --tpu"
        reason = " ".join(str(error).split()).partition(" Failed in initialization")[0]
        raise UserError(f"{name}: no TPU can be reached ({reason}); check --tpu") from error
    return tf.distribute.TPUStrategy(resolver)


def _log(name: str, strategy: tf.distribute.Strategy, cluster: Cluster) -> None:
    count = strategy.num_replicas_in_sync
    details = f"{count} replica{'s' if count > 1 else ''}"
    if cluster.num_workers > 1:
        details += f", this is worker {cluster.index} of {cluster.num_workers}"
    elif name == "mirrored" and count == 1:
        details += ", because there is one device to mirror over"
    _logger.info("strategy %s: %s", name, details)


def check_training(training: TrainingConfig, strategy: tf.distribute.Strategy) -> None:
    """Checks that a training can be distributed over the replicas.

    Raises:
        UserError: The replicas do not divide the training batch, or several of them would each
            compile their step by themselves.
    """
    count = strategy.num_replicas_in_sync
    _check_batch_size(training.train_batch_size, count)
    if training.jit_compile and count > 1 and not _exchanges_within_xla(strategy):
        raise UserError(
            f"--jit_compile needs one replica, a TPU or the GPUs of one machine, received {count} "
            "replicas: they exchange gradients within the step; set --nojit_compile or "
            "--strategy=one_device"
        )


def compiles_step(training: TrainingConfig, strategy: tf.distribute.Strategy) -> bool:
    """Returns whether Keras lets XLA compile the training step.

    A TPUStrategy does so by itself. On GPUs XLA fuses pointwise operations, which are small kernels
    otherwise. On a CPU the step takes longer under XLA, because its matrix products do.
    """
    if _device_kind(strategy) == "TPU":
        return False
    if training.jit_compile is not None:
        return training.jit_compile
    return _exchanges_within_xla(strategy) and not training.deterministic


def _exchanges_within_xla(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether gradients are summed over the replicas in programs that XLA compiles."""
    is_one_machine = not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    kind = _device_kind(strategy)
    return kind == "TPU" or (kind == "GPU" and is_one_machine)


def _device_kind(strategy: tf.distribute.Strategy) -> str:
    with strategy.scope():
        return devices.device_kind()


def _check_batch_size(batch_size: int, num_replicas: int) -> None:
    if batch_size % num_replicas:
        smaller = batch_size // num_replicas * num_replicas
        larger = smaller + num_replicas
        both = f"sizes that can are {smaller} and {larger}"
        nearest = both if smaller else f"size that can is {larger}"
        raise UserError(
            f"--train_batch_size={batch_size} cannot be divided equally among {num_replicas} "
            f"replicas; the nearest {nearest}"
        )


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process writes the files of the run; one of the workers does."""
    return strategy.extended.should_checkpoint


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns when every worker has called this function. A single process returns at once."""
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        ones = strategy.run(tf.function(lambda: tf.ones(())))
        strategy.reduce(tf.distribute.ReduceOp.SUM, ones, axis=None).numpy()


@contextlib.contextmanager
def chief_first(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Lets the chief run the body before the others, for example to prepare a data set."""
    if not is_chief(strategy):
        wait_for_all(strategy)
    yield
    if is_chief(strategy):
        wait_for_all(strategy)


@contextlib.contextmanager
def naming_lost_workers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Turns the failure of an exchange between workers into a UserError.

    Raises:
        UserError: Another worker has ended, or cannot be reached.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if strategy.cluster_resolver is None or not isinstance(error, _LOST):
            raise
        raise UserError(
            f"another worker has ended or cannot be reached ({_reason(error)}), so this one stops "
            "too; start the same command on all workers again, and they continue from the last "
            "checkpoint"
        ) from error


def _reason(error: tf.errors.OpError) -> str:
    """Returns the cause without the operations and the hosts that passed the error on."""
    cause = error.message.rpartition("aborted by: ")[2].partition("Additional GRPC")[0]
    return cause.strip().partition("\n")[0] or type(error).__name__
