"""The room of sharing: the model card, and uploads to the Hugging Face Hub.

Its door: `run_push`.
"""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__, run_push="run")
