"""One process of a training: `python -m tests.training.distributed_run CONFIG.json NUM_DEVICES`.

Logical devices must be set up before TensorFlow uses any, so each test starts its own processes.
"""

import sys
from pathlib import Path

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import tensorflow as tf

from tfseg.cli import exit_codes, run_log
from tfseg.config import serialization
from tfseg.training.run import run_training


def main(config_path: str, num_devices: str) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration() for _ in range(int(num_devices))]
    tf.config.set_logical_device_configuration(cpu, logical)
    run_log.print_to_stdout()
    config = serialization.train_config_from_json(Path(config_path).read_text())
    with exit_codes.errors_as_exit_codes():
        run_training(config)


if __name__ == "__main__":
    main(*sys.argv[1:])
