"""Shows a model in the browser: `python -m tfseg.demo --model=runs/pets/best`."""

from tfseg import cli, serving
from tfseg.config.commands import DemoConfig


def main(_):
    serving.run_demo(cli.config_from_flags(DemoConfig))


if __name__ == "__main__":
    cli.define_demo_flags()
    cli.run(main)
