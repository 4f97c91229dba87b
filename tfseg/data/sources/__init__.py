"""Where examples come from: one module per kind of source, and the check that two of them share."""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__)
