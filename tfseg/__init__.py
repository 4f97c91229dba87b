"""tfseg: fine-tune SegFormer with TensorFlow and Keras, and serve it with TF Serving.

Submodules load on first use, so `import tfseg` costs nothing and `tfseg.train_lib.run_training`
works without further imports.
"""

import importlib
import os

__version__ = "0.1.0"

# transformers' TensorFlow classes need Keras 2, and TensorFlow reads this when it is imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


def __getattr__(name: str):
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
