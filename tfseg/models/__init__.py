"""SegFormer for Keras: the only package that knows transformers."""

from tfseg import lazy_submodules

__getattr__ = lazy_submodules(__name__)
