"""What SegFormer-B0's steps cost on a TPU v5e, by its compiler: `python -m tests.benchmarks.tpu`.

No TPU is needed and nothing runs on one: the compiler says how much memory a program holds, how
much it computes and how many bytes it moves. The steps are lowered by TensorFlow with weights as
constants and without the optimizer. The peers are transformers' TensorFlow classes and KerasHub on
JAX, with their plain loss.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from absl import app, flags

from tests.benchmarks import tpu_compiler, tpu_environments, tpu_programs

PRECISIONS = ("float32", "mixed_bfloat16")
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tfseg" / "tpu"
_ROOT = Path(__file__).parents[2]
_PEERS = ("hf_train", "keras_hub")
# What a row compares: key of the compiler's answer -> name, unit and its size.
_MEASURES = {"memory": ("memory", "GB", 1e9), "bytes": ("bytes moved", "GB", 1e9)}


class ProgramError(Exception):
    """A program could not be lowered or compiled; the message ends with what was printed."""


def compile_program(
    name: str, precision: str, shape: dict[str, int], pythons: dict[str, Path]
) -> dict[str, float]:
    """Lowers and compiles one program; see `tpu_compiler.describe` for the result."""
    options = [f"--{key}={value}" for key, value in shape.items()] + [f"--precision={precision}"]
    with tempfile.TemporaryDirectory() as folder:
        if name == "keras_hub":
            wanted = options
        else:
            path = Path(folder) / "program.pb"
            lowering = ["-m", "tests.benchmarks.tpu_programs", str(path), f"--program={name}"]
            _run(pythons["lower"], [*lowering, *options], tpu_programs.TPU_ENVIRONMENT)
            wanted = [f"--program={path}"]
        compiling = ["-m", "tests.benchmarks.tpu_compiler", *wanted]
        printed = _run(pythons["compile"], compiling, tpu_compiler.ENVIRONMENT)
    return json.loads(printed.splitlines()[-1])


def _run(python: Path, arguments: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [python, *arguments],
        cwd=_ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ProgramError(f"{arguments[1]} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def _describe(name: str, precision: str, costs: dict[str, float]) -> str:
    return (
        f"{name:10} {precision:15} {costs['memory'] / 1e6:8.0f} MB  "
        f"{costs['flops'] / 1e9:7.0f} GFLOP  {costs['bytes'] / 1e9:6.1f} GB moved  "
        f"{costs['loops']:3.0f} loops"
    )


def compare(precision: str, costs: dict[str, dict[str, float]]) -> list[dict]:
    """Returns the comparisons of the training step with each peer, for the JSON file."""
    rows = []
    for peer in [name for name in _PEERS if name in costs]:
        for key, (measure, unit, size) in _MEASURES.items():
            own, other = costs["train"][key] / size, costs[peer][key] / size
            ratio = other / own
            values = {"ratio": ratio, "ratio_min": ratio, "ratio_max": ratio}
            values |= {"tfseg": own, "peer_value": other, "unit": unit, "rounds": 1}
            rows.append({"work": f"{measure} {precision}", "peer": peer, **values})
    return rows


def main(_) -> None:
    options = flags.FLAGS
    pythons = tpu_environments.prepare(Path(options.environments))
    shape = {name: options[name].value for name in ("batch_size", "image_size", "num_classes")}
    rows = []
    for precision in options.precisions:
        costs = {}
        for name in options.programs:
            try:
                costs[name] = compile_program(name, precision, shape, pythons)
            except ProgramError as error:
                if name not in _PEERS:
                    raise
                print(f"{name} is skipped: {error}", flush=True)
            else:
                print(_describe(name, precision, costs[name]), flush=True)
        if "train" in costs:
            rows += compare(precision, costs)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2) + "\n")


def _define_flags() -> None:
    names = [*tpu_programs.PROGRAMS, "keras_hub"]
    flags.DEFINE_string("environments", str(_CACHE), "folder of the two environments")
    flags.DEFINE_string("json", None, "JSON file for the results")
    flags.DEFINE_multi_enum("precisions", PRECISIONS, PRECISIONS, "dtype policies")
    flags.DEFINE_multi_enum("programs", names, names, "programs to compile")
    flags.DEFINE_integer("batch_size", 8, "images per batch", 1)
    flags.DEFINE_integer("image_size", 512, "height and width in pixels", 32)
    flags.DEFINE_integer("num_classes", 150, "number of classes", 2)


if __name__ == "__main__":
    _define_flags()
    app.run(main)
