"""Trains SegFormer: `python -m tfseg.train --dataset=oxford_iiit_pet`."""

from absl import flags

from tfseg import cli
from tfseg.config.commands import TrainConfig


def main(_):
    config = cli.config_from_flags(TrainConfig)
    run = cli.import_quietly("tfseg.training.run")  # only now: it loads TensorFlow
    run.run_training(config)


if __name__ == "__main__":
    cli.define_train_flags()
    flags.adopt_module_key_flags(cli)
    cli.run(main)
