"""Segments images: `python -m tfseg.predict --model=runs/pets/best cat.jpg photos/`.

After the flags it takes files, folders, globs in quotes ('photos/*.jpg') and - for the bytes of one
image on standard input.
"""

from tfseg import cli, serving
from tfseg.config.commands import PredictConfig
from tfseg.errors import UserError


def main(argv):
    config = cli.config_from_flags(PredictConfig)
    if not argv[1:]:
        raise UserError("no image given: name files or folders after the flags, e.g. cat.jpg")
    serving.run_prediction(config, argv[1:])


if __name__ == "__main__":
    cli.define_predict_flags()
    cli.run(main, takes_arguments=True)
