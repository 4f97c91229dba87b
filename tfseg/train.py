"""Trains SegFormer: `python -m tfseg.train --dataset=oxford_iiit_pet`."""

from tfseg import cli, training
from tfseg.config.commands import TrainConfig


def main(_):
    config = cli.config_from_flags(TrainConfig)
    training.run_training(config)


if __name__ == "__main__":
    cli.define_train_flags()
    cli.run(main)
