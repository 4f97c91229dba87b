"""Evaluation: the confusion matrix, mean IoU, and scoring a model on a data set.

Public functions: `run_evaluation(config)` and `compute_mean_iou(...)`.
"""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__, run_evaluation="run", compute_mean_iou="mean_iou")
