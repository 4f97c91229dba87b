"""The room of data: what mask values mean, where examples come from, and the way to batches.

Its door: `get_dataset_spec(name)`.
"""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__, get_dataset_spec="catalog")
