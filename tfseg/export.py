"""Exports to TF Serving: `python -m tfseg.export --model=runs/pets/best --export_dir=serving`."""

from absl import flags

from tfseg import cli
from tfseg.config.commands import ExportConfig


def main(_):
    config = cli.config_from_flags(ExportConfig)
    export = cli.import_quietly("tfseg.serving.export")  # only now: it loads TensorFlow

    print(f"wrote {export.run_export(config)}")


if __name__ == "__main__":
    cli.define_export_flags()
    flags.adopt_module_key_flags(cli)
    cli.run(main)
