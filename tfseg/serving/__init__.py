"""The SavedModel that TF Serving loads."""

from tfseg import lazy_submodules

__getattr__ = lazy_submodules(__name__)
