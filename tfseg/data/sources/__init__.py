"""One module a place that examples come from."""

from tfseg import lazy_submodules

__getattr__ = lazy_submodules(__name__)
