"""Peak resident memory of a training process: `python -m tests.benchmarks.memory`."""

from __future__ import annotations

from tests.benchmarks import comparison, contestants, harness
from tests.benchmarks.works import Work, prepare

WORKS = (
    Work("b2_512_c150", batch_size=2, image_size=512, num_classes=150, steps=4),
    Work("tiny", batch_size=1, image_size=64, num_classes=5, steps=3),
)


def measure(work, folder, rounds):
    harness.run_alone(prepare, work, folder)
    values = harness.alternate_alone(
        {
            name: (contestants.peak_memory, name, folder, work.steps)
            for name in contestants.choose(work)
        },
        rounds,
    )
    return comparison.compare(work.name, values, "GB")


if __name__ == "__main__":
    harness.run(measure, WORKS)
