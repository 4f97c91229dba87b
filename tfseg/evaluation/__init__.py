"""Evaluation: the confusion matrix, mean IoU, and scoring a model on a data set.

Public: `run_evaluation(config)`, `compute_mean_iou(...)`, `MeanIoU`, a metric of `evaluate`, and
`KerasMeanIoU`, a metric of Keras.
"""

from tfseg import lazy_door

__getattr__ = lazy_door(
    __name__,
    run_evaluation="run",
    compute_mean_iou="mean_iou",
    MeanIoU="evaluate_metric",
    KerasMeanIoU="keras_metric",
)
