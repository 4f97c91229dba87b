"""Uploads a run to the Hugging Face Hub: `python -m tfseg.push --model_dir=runs/shapes`."""

from tfseg import cli, hub
from tfseg.config.commands import PushConfig


def main(_):
    config = cli.config_from_flags(PushConfig)
    hub.run_push(config)


if __name__ == "__main__":
    cli.define_push_flags()
    cli.run(main)
