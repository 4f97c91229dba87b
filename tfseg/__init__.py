"""tfseg: fine-tune SegFormer with TensorFlow and Keras, and serve it with TF Serving.

Everything loads on first use, so `import tfseg` costs nothing and
`tfseg.training.run_training(config)` works without further imports.
"""

import importlib
import os

__version__ = "0.1.0"

# transformers' TensorFlow classes need Keras 2, and TensorFlow reads this when it is imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
# transformers looks for TensorFlow among names of packages, and tensorflow-tpu is not one of them.
os.environ.setdefault("FORCE_TF_AVAILABLE", "1")


def lazy_door(package: str, **modules: str):
    """Returns a package's `__getattr__`, which imports what is asked for on first use (PEP 562).

    Args:
        package: `__name__` of the package.
        **modules: Public name -> the module of the package that defines it. The package's modules
            are reached by their own names without being listed.
    """

    def load(name: str):
        if name in modules:
            return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)
        try:
            return importlib.import_module(f"{package}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{package}.{name}":
                raise
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None

    return load


__getattr__ = lazy_door(__name__)
