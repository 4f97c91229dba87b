"""tf.data service: input workers, which prepare training batches in processes of their own.

https://www.tensorflow.org/api_docs/python/tf/data/experimental/service

The dispatcher has a list of its input workers, `worker_addresses`, so it can tell each of them its
position (static sharding). A training asks for one stream per input worker. All of them make the
same order of records, and worker k of n decodes and augments batches k, k + n, k + 2n and so on.
The training takes a batch from each in turn. So it sees the batches that it would have made by
itself, and each of them once.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import tensorflow as tf
from tensorflow.python.eager import cancellation

from tfseg import network
from tfseg.errors import UserError

# TensorFlow would wait for an hour. Whatever is wrong shows within a minute.
START_TIMEOUT_SECONDS = 45
# How long input workers may take to answer a training that watches them, and how often it asks.
ANSWER_TIMEOUT_SECONDS, CHECK_EVERY_SECONDS = 30, 10

_MAX_BATCHES = 1 << 40  # no training takes so many
_LOST = "an input worker has ended or was restarted"

Batches = tf.data.Dataset


def check_service(service: str, *, source: str, dataset: str) -> None:
    """Checks that the input workers of a service answer, and can do their work.

    Args:
        service: `grpc://HOST:PORT` of the dispatcher.
        source: Kind of the data set, as in `DatasetSpec`.
        dataset: Name of the data set.

    Raises:
        UserError: Python code of this process reads the examples, or an input worker does not
            answer.
    """
    if source == "huggingface":
        raise UserError(
            f"--data_service={service} cannot send --dataset={dataset} to its workers, because "
            "Python code of this process reads it; use folder: or tfds:, or leave --data_service "
            "out"
        )
    count_input_workers(service)


def count_input_workers(service: str, seconds: float = START_TIMEOUT_SECONDS) -> int:
    """Returns the number of input workers of a service when all of them have answered.

    Args:
        service: `grpc://HOST:PORT` of the dispatcher.
        seconds: How long to wait for them.

    Raises:
        UserError: The dispatcher cannot be reached, has no list of its input workers, or some of
            them do not answer in time.
    """
    if not network.port_answers(service):
        raise UserError(
            f"--data_service={service} does not answer; start the dispatcher of the tf.data "
            "service, or check the address"
        )
    end = time.monotonic() + seconds
    answers = []
    while time.monotonic() < end:
        answers = _ask(service, end - time.monotonic()) or answers
        if answers and len(answers) == answers[0][1]:
            return len(answers)
        time.sleep(0.5)
    count = f"{len(answers)} of {answers[0][1]}" if answers else "none"
    raise UserError(
        f"--data_service={service}: {count} of its input workers answered within {seconds:g} "
        "seconds; list them all in the dispatcher's worker_addresses, and start them"
    )


def _ask(service: str, seconds: float) -> list[tuple[int, int]] | None:
    """Asks each input worker for its position and their number; None if that takes too long.

    The thread that asks is given up then, because nothing ends its wait for a lost process.
    """
    answers: list[list[tuple[int, int]]] = []

    def ask() -> None:
        with contextlib.suppress(tf.errors.OpError):
            pairs = _read_from(service, _positions().take(2).batch(2))
            answers.append([(int(first), int(second - first)) for first, second in pairs])

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    return answers[0] if answers else None


def _positions() -> tf.data.Dataset:
    """Returns, in the input worker at position k of n, the numbers k, k + n, k + 2n and so on."""
    hint = tf.data.experimental.SHARD_HINT
    return tf.data.Dataset.range(_MAX_BATCHES).shard(hint, hint)


def _read_from(service: str, dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the elements of a dataset that every input worker makes for itself."""
    # Static sharding tells a worker its position. By default, it reads from workers within the
    # training's process only.
    service_lib = tf.data.experimental.service
    distribute = service_lib.distribute(
        service_lib.ShardingPolicy.HINT,
        service,
        max_outstanding_requests=2,
        target_workers="ANY",
    )
    return dataset.apply(distribute)


def distribute(build: Callable[[int, int], Batches], service: str) -> Batches:
    """Has batches made by the input workers of a service.

    Args:
        build: Takes a position k and a number n, and returns the batches k, k + n, k + 2n and so
            on, without an end. It runs in the input workers, so it must be a graph of TensorFlow's
            operations without Python code or resources of this process.
        service: `grpc://HOST:PORT` of the dispatcher.

    Returns:
        All batches in their order. An input worker that ends or starts again makes reading them
        fail with `tf.errors.InvalidArgumentError`, or wait; see `watching`.

    Raises:
        UserError: See `count_input_workers`.
    """
    count = count_input_workers(service)
    streams = [_stream(build, position, count, service) for position in range(count)]
    turns = tf.data.Dataset.range(count).repeat()
    batches = tf.data.Dataset.choose_from_datasets(streams, turns, stop_on_empty_dataset=True)
    # The streams have no end, so one that ends has lost its worker.
    return batches.concatenate(_failure(batches.element_spec))


def _stream(
    build: Callable[[int, int], Batches], position: int, count: int, service: str
) -> Batches:
    """Returns the batches of the input worker at a position; the others have none for it."""

    def numbered_batches(_) -> tf.data.Dataset:
        return build(position, count).enumerate()

    def check(expected: tf.Tensor, batch: tuple[tf.Tensor, tuple]) -> tuple:
        # A worker that was started again begins at its first batch.
        number, content = batch
        return _require(number == expected, content)

    own = _positions().take(1).filter(lambda first: tf.equal(first, position))
    return _read_from(service, own.flat_map(numbered_batches)).enumerate().map(check)


def _failure(element_spec: tuple) -> Batches:
    def fail(_) -> tuple:
        empty = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), element_spec)
        return _require(tf.constant(False), empty)

    return tf.data.Dataset.range(1).map(fail)


def _require(condition: tf.Tensor, content: tuple) -> tuple:
    with tf.control_dependencies([tf.debugging.Assert(condition, [_LOST])]):
        return tf.nest.map_structure(tf.identity, content)


@contextlib.contextmanager
def watching(service: str | None) -> Iterator[None]:
    """Ends the body soon after a process of the service that it reads from has ended.

    TensorFlow itself would wait for the process to come back. So a thread asks all input workers
    from time to time, and cancels the body's functions if they do not answer.

    Args:
        service: `grpc://HOST:PORT` of the dispatcher; None to watch nothing.

    Raises:
        UserError: A process of the service has ended or was restarted.
    """
    if service is None:
        yield
        return
    manager, is_lost, is_over = (
        cancellation.CancellationManager(),
        threading.Event(),
        threading.Event(),
    )

    def watch() -> None:
        while not is_over.wait(CHECK_EVERY_SECONDS):
            if not _answers(service):
                is_lost.set()
                manager.start_cancel()
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        with cancellation.CancellationManagerContext(manager):
            yield
    except tf.errors.OpError as error:
        if not is_lost.is_set() and _LOST not in error.message:
            raise
        raise UserError(
            f"--data_service={service}: the dispatcher or an input worker has ended, does not "
            "answer or was restarted; start the service again, then the same command, which "
            "continues from the last checkpoint"
        ) from error
    finally:
        is_over.set()


def _answers(service: str) -> bool:
    if not network.port_answers(service):
        return False
    answers = _ask(service, ANSWER_TIMEOUT_SECONDS)
    return bool(answers) and len(answers) == answers[0][1]
