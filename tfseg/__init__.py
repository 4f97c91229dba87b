"""tfseg: fine-tune SegFormer with TensorFlow and Keras, and serve it with TF Serving.

Submodules load on first use, so `import tfseg` costs nothing and `tfseg.train_lib.run_training`
works without further imports.
"""

import importlib
import os

__version__ = "0.1.0"

# transformers' TensorFlow classes need Keras 2, and TensorFlow reads this when it is imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


def lazy_submodules(package: str):
    """Returns a module `__getattr__` that imports `package`'s submodules on first use (PEP 562)."""

    def load_submodule(name: str):
        try:
            return importlib.import_module(f"{package}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{package}.{name}":
                raise
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None

    return load_submodule


__getattr__ = lazy_submodules(__name__)
