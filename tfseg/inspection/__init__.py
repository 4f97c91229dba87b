"""Reads a whole data set and says what a training would stumble over: `run_inspection`."""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__, run_inspection="run")
