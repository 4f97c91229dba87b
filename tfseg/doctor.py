"""Reads a data set before a training does: `python -m tfseg.doctor --dataset=folder:mine`."""

import sys

from tfseg import cli, inspection
from tfseg.config.commands import DoctorConfig


def main(_):
    config = cli.config_from_flags(DoctorConfig)
    sys.exit(0 if inspection.run_inspection(config) else 1)


if __name__ == "__main__":
    cli.define_doctor_flags()
    cli.run(main)
