"""Where examples come from: one module for each kind of source."""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__)
