"""What the benchmarks share: processes that take turns, and flags.

This process imports neither TensorFlow nor PyTorch, because on Linux a process that it starts
inherits its peak memory.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from tests.benchmarks.comparison import Comparison, print_table
from tests.benchmarks.works import Work

_OWN = "tfseg"
_ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_OFFLINE": "1",
}


class WorkerError(Exception):
    """A process could not do its work; the message is the reason in one line."""


class Worker:
    """A process that is set up once and then measures whenever it is asked to.

    Args:
        build: Runs in the process. Returns evidence, by which the contestants are compared, and a
            function that measures one round.
        *args: Arguments of `build`.

    Raises:
        WorkerError: `build` failed.
    """

    def __init__(self, build: Callable[..., tuple[Any, Callable[[], Any]]], *args):
        context = multiprocessing.get_context("spawn")
        self._connection, child_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_end, build, args))
        self._process.start()
        child_end.close()  # otherwise this end would not notice when the process ends
        self.evidence = self._receive()

    def measure(self) -> Any:
        """Measures one round and returns the value."""
        self._connection.send(True)
        return self._receive()

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.join()

    def _receive(self) -> Any:
        try:
            reply = self._connection.recv()
        except EOFError:
            self.close()
            reply = WorkerError(f"the process ended with code {self._process.exitcode}")
        if isinstance(reply, WorkerError):
            raise reply
        return reply


def _serve(connection, build: Callable, args: Sequence) -> None:
    try:
        evidence, measure = build(*args)
        connection.send(evidence)
        while connection.recv():
            connection.send(measure())
    except EOFError:
        pass
    except ModuleNotFoundError as error:
        connection.send(WorkerError(f'{error} (pip install -e ".[bench]")'))
    except Exception as error:  # whatever a peer raises is the reason why it is skipped
        traceback.print_exc()
        reason = (str(error).strip() or "no message").splitlines()[0]
        connection.send(WorkerError(f"{type(error).__name__}: {reason}"))


def run_alone(function: Callable, *args) -> Any:
    """Runs a function in a process of its own and returns its result."""
    worker = Worker(_build_call, function, args)
    try:
        return worker.measure()
    finally:
        worker.close()


def _build_call(function: Callable, args: Sequence) -> tuple[None, Callable[[], Any]]:
    return None, lambda: function(*args)


def start_workers(builds: Mapping[str, tuple]) -> dict[str, Worker]:
    """Starts one process per contestant. A peer that fails is skipped, with a line saying why.

    Args:
        builds: Contestant name -> `build` and its arguments, see `Worker`.
    """
    workers = {}
    for name, build in builds.items():
        try:
            workers[name] = Worker(*build)
        except WorkerError as error:
            if name == _OWN:
                raise
            _skip(name, error)
    return workers


def _skip(name: str, error: WorkerError) -> None:
    print(f"{name} is skipped: {error}", flush=True)


def alternate(measures: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Lets the contestants measure in turn, so that the machine is in the same state for all."""
    values = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            values[name].append(measure())
    return values


def alternate_workers(workers: Mapping[str, Worker], rounds: int) -> dict[str, list[float]]:
    """Does what `alternate` does with the workers, and closes them."""
    try:
        return alternate({name: worker.measure for name, worker in workers.items()}, rounds)
    finally:
        for worker in workers.values():
            worker.close()


def batch_meter(batches: Iterable, work: Work, warmup: int) -> Callable[[], float]:
    """Returns what measures the images per second of a data set of batches.

    Args:
        batches: Endless batches.
        work: How many batches are measured, and of how many images.
        warmup: Number of batches that are read before.
    """

    def images_per_second() -> float:
        iterator = iter(batches)  # a new iterator: an old one's buffer fills while others measure
        consume(iterator, warmup)
        started = time.perf_counter()
        consume(iterator, work.steps)
        return work.batch_size * work.steps / (time.perf_counter() - started)

    return images_per_second


def consume(iterator: Iterator, count: int) -> None:
    """Reads so many items and forgets them."""
    for _ in itertools.islice(iterator, count):
        pass


def alternate_alone(calls: Mapping[str, tuple], rounds: int) -> dict[str, list[float]]:
    """Does what `alternate` does, with a new process for each measurement.

    Args:
        calls: Contestant name -> function and its arguments. A peer that fails in the first round
            is skipped, with a line saying why.
        rounds: Number of rounds.
    """
    values = {name: [] for name in calls}
    for _ in range(rounds):
        for name in list(values):
            try:
                values[name].append(run_alone(*calls[name]))
            except WorkerError as error:
                if name == _OWN or values[name]:
                    raise
                _skip(name, error)
                del values[name]
    return values


def run(
    measure: Callable[[Work, Path, int], tuple[list[Comparison], list[Comparison]]],
    works: Sequence[Work],
) -> None:
    """Parses the flags, measures, prints the table and writes the JSON file.

    Args:
        measure: Takes a work, a scratch folder and the number of rounds; returns the comparisons to
            print and those that go into the JSON file.
        works: The works that `--work` can name. The one named `tiny` runs only with `--tiny`.
    """
    names = [work.name for work in works]
    flags.DEFINE_integer("rounds", 3, "number of rounds; each measures every contestant once", 1)
    flags.DEFINE_string("json", None, "JSON file for the results")
    flags.DEFINE_enum("work", None, names, "measure only this work")
    flags.DEFINE_bool("tiny", False, "only check that the benchmark runs, in about a minute")

    def main(_):
        os.environ.update(_ENVIRONMENT)
        wanted = "tiny" if flags.FLAGS.tiny else flags.FLAGS.work
        load, cores = os.getloadavg()[0], os.cpu_count()
        print(f"load average {load:.1f} on {cores} cores; other processes add noise", flush=True)
        results = []
        for work in works:
            if work.name == wanted or (wanted is None and work.name != "tiny"):
                with tempfile.TemporaryDirectory() as folder:
                    printed, best = measure(work, Path(folder), flags.FLAGS.rounds)
                print_table(printed)
                results += best
        if flags.FLAGS.json:
            text = json.dumps([row.to_json() for row in results], indent=2)
            Path(flags.FLAGS.json).write_text(text + "\n")

    app.run(main)
