"""Data: what mask values mean, where examples come from, and how they become batches.

Public: `get_dataset_spec(name)`.
"""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__, get_dataset_spec="catalog")
