"""Exports a model for TF Serving: `run_export` is the table of contents."""

from __future__ import annotations

from etils import epath

from tfseg.config.commands import ExportConfig
from tfseg.models import segformer
from tfseg.serving import bundle


def run_export(config: ExportConfig) -> epath.Path:
    """Writes the SavedModel to `<export_dir>/<version>` and returns this path.

    Args:
        config: The model, the folder that holds all versions, and optionally the version number and
            the image size.

    Raises:
        UserError: The model does not exist, the version exists already, or it cannot be written.
    """
    version = bundle.choose_version(config.export_dir, config.version)
    model = segformer.load_model(config.model, image_size=config.image_size)
    return bundle.write_bundle(model, config.export_dir, version=version)
