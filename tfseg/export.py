"""Exports to TF Serving: `python -m tfseg.export --model=runs/pets/best --export_dir=serving`."""

from tfseg import cli, serving
from tfseg.config.commands import ExportConfig


def main(_):
    config = cli.config_from_flags(ExportConfig)
    print(f"wrote {serving.run_export(config)}")


if __name__ == "__main__":
    cli.define_export_flags()
    cli.run(main)
