"""The order of a model's classes, which differs between models of the same classes."""

from __future__ import annotations

import tensorflow as tf

from tfseg.data.labels import LabelSpec
from tfseg.models import checkpoint
from tfseg.models.segformer import Segformer


def reorder_classes(model: Segformer, labels: LabelSpec) -> None:
    """Gives the logits of a model the order of a data set's classes, by name.

    The classifier is pointwise and linear, so its columns are put in order once, and no step takes
    longer than before.

    Args:
        model: Its weights, configuration and `labels` are changed.
        labels: Classes of the same names.
    """
    order = [model.labels.label2id[name] for name in labels.names]
    for variable in model.network.decode_head.classifier.variables:
        variable.assign(tf.gather(variable, order, axis=-1))
    checkpoint.set_labels(model.network.config, labels)
    model.labels = labels
