"""Silences the start-up messages of libraries, as far as their settings allow.

TensorFlow's C++ code prints a few lines before it reads any setting. They stay visible: to hide
them would take a redirection of the process's standard error while the devices are set up, and
after that logical devices and memory growth can no longer be configured.
"""

from __future__ import annotations

import os

from absl import logging as absl_logging

# The libraries read these variables when they are imported.
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "GRPC_VERBOSITY": "ERROR",
    "ABSL_MIN_LOG_LEVEL": "2",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def set_environment() -> None:
    """Limits the libraries to errors, unless the user's environment says otherwise."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def limit_absl_log() -> None:
    """Limits absl's Python log, which TFDS writes to, to warnings; `--verbosity=1` shows all.

    Call this after the flags are parsed: absl itself then shows everything from INFO on.
    """
    verbosity = absl_logging.get_verbosity()
    if verbosity <= absl_logging.INFO:
        absl_logging.set_verbosity(min(verbosity, absl_logging.WARNING))
