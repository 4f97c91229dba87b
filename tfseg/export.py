"""Exports to TF Serving: `python -m tfseg.export --model=runs/pets/best --export_dir=serving`."""

from absl import flags

from tfseg import cli
from tfseg.config import ExportConfig


def main(_):
    config = cli.config_from_flags(ExportConfig)
    export_lib = cli.import_quietly("tfseg.export_lib")  # only now: it loads TensorFlow

    print(f"wrote {export_lib.run_export(config)}")


if __name__ == "__main__":
    cli.define_export_flags()
    flags.adopt_module_key_flags(cli)
    cli.run(main)
