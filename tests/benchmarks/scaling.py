"""Two worker processes against one, one core each: `python -m tests.benchmarks.scaling`.

Every process trains on the same number of images per step. `ideal` is twice the rate of one
process, so its ratio is the efficiency; the goal is 0.9. `apart` is the rate of two processes that
run at the same time and exchange nothing: what two cores can do that share memory, caches and
clock. `step_to_all_reduce` compares the time of a training step of two workers to the time in which
they add up their gradients, which is part of it and grows with the bytes of the weights.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app

from tests.benchmarks import harness
from tests.benchmarks.comparison import Comparison
from tests.benchmarks.works import LEARNING_RATE, WEIGHT_DECAY, Work, load_batch, prepare
from tests.hosts import find_free_ports

WORKS = (
    Work("b0_512_c150", batch_size=2, image_size=512, num_classes=150, steps=4),
    Work("b0_128_c20", batch_size=4, image_size=128, num_classes=20, steps=10),
    Work("b1_128_c20", batch_size=4, image_size=128, num_classes=20, steps=5, backbone="mit-b1"),
    Work("b2_128_c20", batch_size=4, image_size=128, num_classes=20, steps=5, backbone="mit-b2"),
    Work("tiny", batch_size=2, image_size=64, num_classes=5, steps=2),
)


def measure(work, folder, rounds):
    harness.run_alone(prepare, work, folder)
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise app.UsageError("two worker processes need two cores")
    alone = [(build, work, folder, core, None) for core in cores]
    together = [
        (build, work, folder, core, config)
        for core, config in zip(cores, make_tf_configs(), strict=True)
    ]
    workers = start_together([*alone, *together])
    try:
        print(f"{work.name}: {workers[2].evidence / 1e6:.1f} MB of gradients", flush=True)
        values = harness.alternate(
            {
                "one": lambda: measure_together(workers[:1]),
                "apart": lambda: measure_together(workers[:2]),
                "two": lambda: measure_together(workers[2:]),
            },
            rounds,
        )
    finally:
        for worker in workers:
            worker.close()
    rows = compare(work, values)
    return rows, rows


def compare(work: Work, values: dict[str, list[tuple[float, float]]]) -> list[Comparison]:
    """Makes rates, in images per second, of the seconds per step and per all-reduce."""
    one, apart, two = (
        [count * work.batch_size / step for step, _ in values[name]]
        for name, count in (("one", 1), ("apart", 2), ("two", 2))
    )
    ideal = [2 * rate for rate in one]
    steps, exchanges = zip(*values["two"], strict=True)
    return [
        Comparison(work.name, "ideal", two, ideal, "images/s", larger_is_better=True),
        Comparison(work.name, "apart", two, apart, "images/s", larger_is_better=True),
        Comparison(work.name, "step_to_all_reduce", exchanges, steps, "seconds"),
    ]


def make_tf_configs() -> list[str]:
    """Returns the TF_CONFIG of two workers on this machine."""
    addresses = [f"127.0.0.1:{port}" for port in find_free_ports(2)]
    tasks = [{"type": "worker", "index": index} for index in range(2)]
    return [json.dumps({"cluster": {"worker": addresses}, "task": task}) for task in tasks]


def start_together(builds: Sequence[tuple]) -> list[harness.Worker]:
    """Starts processes of which some wait for each other."""
    with concurrent.futures.ThreadPoolExecutor(len(builds)) as threads:
        return list(threads.map(lambda arguments: harness.Worker(*arguments), builds))


def measure_together(workers: Sequence[harness.Worker]) -> tuple[float, float]:
    """Lets processes measure at the same time; returns the values of the slowest."""
    with concurrent.futures.ThreadPoolExecutor(len(workers)) as threads:
        return max(threads.map(lambda worker: worker.measure(), workers))


def build(
    work: Work, folder: Path, core: int, tf_config: str | None
) -> tuple[int, Callable[[], tuple[float, float]]]:
    """Builds a training on one core, alone or as a worker of a TF_CONFIG.

    Returns:
        The bytes of its gradients, and a function that returns the seconds per training step and
        per exchange of gradients.
    """
    # TensorFlow makes as many threads as there are cores when it is imported.
    os.sched_setaffinity(0, {core})
    os.environ.pop("TF_CONFIG", None)
    if tf_config is not None:
        os.environ["TF_CONFIG"] = tf_config
    import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

    # isort: split
    import tensorflow as tf

    from tfseg.training import strategies

    tf.config.threading.set_intra_op_parallelism_threads(1)
    strategy = strategies.build_strategy("auto")
    model, step = build_train_step(work, folder, strategy)
    exchange = build_exchange(model, strategy)

    def measure_once() -> tuple[float, float]:
        return time_calls(step, work.steps), time_calls(exchange, work.steps)

    measure_once()  # traces the graphs
    return sum(
        4 * weight.shape.num_elements() for weight in model.trainable_variables
    ), measure_once


def build_train_step(work: Work, folder: Path, strategy):
    """Returns a model and a function that takes one training step and returns the loss."""
    import tensorflow as tf

    from tfseg.data.labels import LabelSpec
    from tfseg.losses.cross_entropy import SegmentationCrossEntropy
    from tfseg.models import segformer
    from tfseg.training import learning_rate, optimizers

    labels = LabelSpec(tuple(f"class {index}" for index in range(work.num_classes)))
    with strategy.scope():
        if work.is_tiny:
            model = segformer.load_model(str(folder))
        else:
            size = (work.image_size, work.image_size)
            model = segformer.build_model(labels, size, backbone=work.backbone, init_from="scratch")
        schedule = learning_rate.build_schedule(
            "constant", learning_rate=LEARNING_RATE, total_steps=1, warmup_steps=0
        )
        model.compile(
            optimizers.build_optimizer(
                schedule, weight_decay=WEIGHT_DECAY, gradient_clip_norm=None
            ),
            SegmentationCrossEntropy(labels.ignore_index),
        )
    batch = load_batch(folder)
    batches = strategy.distribute_datasets_from_function(
        lambda _: tf.data.Dataset.from_tensors((batch["inputs"], batch["masks"])).repeat()
    )
    iterator, train = iter(batches), model.make_train_function()
    return model, lambda: float(train(iterator)["loss"])


def build_exchange(model, strategy) -> Callable[[], float]:
    """Returns a function that adds up tensors of the gradients' shapes over all replicas."""
    import tensorflow as tf

    gradients = [tf.ones(weight.shape) for weight in model.trainable_variables]

    def add_up() -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        sums = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        return tf.add_n([tf.reshape(each, [-1])[0] for each in sums])

    exchange = tf.function(lambda: strategy.run(add_up))
    return lambda: float(exchange())


def time_calls(function: Callable[[], float], count: int) -> float:
    """Returns the seconds per call."""
    started = time.perf_counter()
    for _ in range(count):
        function()
    return (time.perf_counter() - started) / count


if __name__ == "__main__":
    harness.run(measure, WORKS)
