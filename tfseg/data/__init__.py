"""Data sets, labels, transforms and the tf.data pipeline."""

from tfseg import lazy_submodules

__getattr__ = lazy_submodules(__name__)
