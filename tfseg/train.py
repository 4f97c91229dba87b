"""Trains SegFormer: `python -m tfseg.train --dataset=oxford_iiit_pet`."""

from absl import flags

from tfseg import cli
from tfseg.config import TrainConfig


def main(_):
    config = cli.config_from_flags(TrainConfig)
    train_lib = cli.import_quietly("tfseg.train_lib")  # only now: it loads TensorFlow
    train_lib.run_training(config)


if __name__ == "__main__":
    cli.define_train_flags()
    flags.adopt_module_key_flags(cli)
    cli.run(main)
