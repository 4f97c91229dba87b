"""The room of training, from a configuration to the best weights, a report and a SavedModel.

Its door: `run_training(config)`.
"""

from tfseg import lazy_door

__getattr__ = lazy_door(__name__, run_training="run")
