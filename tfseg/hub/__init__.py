"""Sharing: what a checkpoint needs besides its weights on the Hugging Face Hub."""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__)
