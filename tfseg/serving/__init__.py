"""Serving: the SavedModel for TF Serving, predictions for images, and a page that shows them.

Public functions: `run_export(config)`, `run_prediction(config, files)`, `run_demo(config)` and
`segment(image, model)`.
"""

from tfseg import lazy_door

__getattr__ = lazy_door(
    __name__,
    run_export="export",
    run_prediction="prediction",
    run_demo="demo_page",
    segment="segmentation",
)
