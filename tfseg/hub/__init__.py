"""The room of sharing: what a model needs beside its weights on the Hugging Face Hub."""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__)
