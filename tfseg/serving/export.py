"""Exports a model for TF Serving: `run_export` is the table of contents."""

from __future__ import annotations

from etils import epath

from tfseg.config.commands import ExportConfig
from tfseg.models import segformer
from tfseg.serving import bundle


def run_export(config: ExportConfig) -> epath.Path:
    """Writes `<export_dir>/<version>/` and returns it.

    Args:
        config: The model, the folder of all versions, and what to override.

    Raises:
        UserError: There is no such model, or the version exists, or it cannot be written.
    """
    version = bundle.choose_version(config.export_dir, config.version)
    model = segformer.load_model(config.model, image_size=config.image_size)
    return bundle.write_bundle(model, config.export_dir, version=version)
