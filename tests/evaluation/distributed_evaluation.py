"""A process that evaluates on two devices, for `test_distributed_evaluation`.

    python -m tests.evaluation.distributed_evaluation CPU|GPU FLAG...

Logical devices must be set up before TensorFlow uses any. The first word is the form of the
computations: GPU stands for batches of fixed shape, which XLA compiles.
"""

import sys

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import tensorflow as tf
from absl import flags

from tfseg import cli, devices
from tfseg.config import EvalConfig
from tfseg.evaluation.run import run_evaluation


def main(form: str, *arguments: str) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
    tf.config.set_logical_device_configuration(cpu, logical)
    values = flags.FlagValues()
    cli.define_eval_flags(values)
    values(["eval", *arguments])
    with devices.asking_for(getattr(devices, form)):
        run_evaluation(cli.config_from_flags(EvalConfig, values))


if __name__ == "__main__":
    main(*sys.argv[1:])
