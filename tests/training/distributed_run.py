"""A process that trains, for `test_distributed`.

    python -m tests.training.distributed_run NUM_DEVICES [--fit_only] CONFIG.json...

Logical devices must be set up before TensorFlow uses any, so each test starts its own processes.
After each training a line counts the files that Python code wrote or removed in its model_dir.
"""

import os
import sys
from pathlib import Path

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import tensorflow as tf

from tfseg.cli import exit_codes, run_log
from tfseg.config import TrainConfig, serialization
from tfseg.training import fitting, strategies
from tfseg.training.preparation import prepare_run
from tfseg.training.run import run_training

_CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "shutil.rmtree")


def watch_changes(folder: str) -> list[str]:
    """Returns a list to which every change of a file in a folder is added from now on."""
    changes = []

    def note(event: str, arguments: tuple) -> None:
        is_write = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        if (is_write or event in _CHANGES) and str(arguments[0]).startswith(folder):
            changes.append(f"{event} {arguments[0]}")

    sys.addaudithook(note)
    return changes


def fit_only(config: TrainConfig) -> None:
    """Trains without scoring and reporting the best weights, which would take as long again."""
    strategy = strategies.build_strategy(config.run.strategy)
    run = prepare_run(config, strategy)
    fitting.fit(fitting.build_model(run), run)


def main(num_devices: str, *arguments: str) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration() for _ in range(int(num_devices))]
    tf.config.set_logical_device_configuration(cpu, logical)
    run_log.print_to_stdout()
    train = fit_only if "--fit_only" in arguments else run_training
    for path in arguments:
        if path == "--fit_only":
            continue
        config = serialization.train_config_from_json(Path(path).read_text())
        changes = watch_changes(config.run.model_dir)
        with exit_codes.errors_as_exit_codes():
            train(config)
        print(f"{len(changes)} changes in the model_dir")


if __name__ == "__main__":
    main(*sys.argv[1:])
