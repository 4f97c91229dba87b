"""Serving: the SavedModel for TF Serving, and predictions for image files.

Public functions: `run_export(config)`, `run_prediction(config, files)` and `segment(image, model)`.
"""

from tfseg import lazy_door

__getattr__ = lazy_door(
    __name__, run_export="export", run_prediction="prediction", segment="segmentation"
)
