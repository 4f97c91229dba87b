"""The two environments in which programs are lowered and compiled for a TPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# TensorFlow for TPUs ends at 2.20; a newer libtpu aborts with it. transformers 4.54 is tfseg's pin.
_LOWER = (
    ("tensorflow-tpu==2.20.0", "libtpu==0.0.19"),
    ("--no-deps", "tf-keras==2.20.1"),  # its own pin would install tensorflow beside it
    (
        "transformers==4.54.1", "huggingface_hub==0.36.2", "safetensors==0.8.0", "etils[epath]",
        "importlib_resources", "matplotlib", "absl-py", "pillow", "h5py",
    ),
)  # fmt: skip
# KerasHub imports TensorFlow for its preprocessing.
_COMPILE = (("jax[tpu]==0.10.2", "keras==3.15.1", "keras-hub==0.32.0", "tensorflow-cpu==2.21.0"),)
ENVIRONMENTS = {"lower": _LOWER, "compile": _COMPILE}
_MARK = "complete"


def prepare(folder: Path) -> dict[str, Path]:
    """Returns the Python of each environment, and makes those that are missing.

    Args:
        folder: Folder of the environments. They need about 6 GB and, the first time, a network.
    """
    pythons = {}
    for name, steps in ENVIRONMENTS.items():
        python = folder / name / "bin" / "python"
        if not (folder / name / _MARK).exists():
            print(f"making the environment {folder / name}, which takes minutes", flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder / name], check=True)
            for packages in steps:
                command = [python, "-m", "pip", "install", "--quiet", *packages]
                subprocess.run(command, check=True)
            (folder / name / _MARK).touch()
        pythons[name] = python
    return pythons
