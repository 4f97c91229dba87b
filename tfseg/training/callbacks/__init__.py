"""Keras callbacks of a training, by purpose: scoring, checkpoints, history, and stopping."""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__)
