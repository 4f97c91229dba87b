"""Compiles programs with the TPU's own compiler, on a machine that has no TPU.

`python -m tests.benchmarks.tpu_compiler --help` runs in an environment with `jax[tpu]`, whose
client compiles for a described topology, and with `keras-hub`, the peer on JAX. It prints one line
of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from tests.benchmarks import tpu_loops

ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "KERAS_BACKEND": "jax",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def find_devices(topology: str) -> list:
    """Returns the devices of a topology, such as `v5e:2x2`."""
    from jax.experimental import topologies

    return topologies.get_topology_desc(topology_name=topology, platform="tpu").devices


def compile_file(path: Path, topology: str) -> Any:
    """Compiles what `tpu_programs` wrote for the first device of a topology."""
    import numpy as np
    from jax._src.interpreters import mlir
    from jax._src.lib import _jax, xla_client
    from jax._src.lib.mlir import ir

    devices = find_devices(topology)
    computation = xla_client.XlaComputation(path.read_bytes())
    options = xla_client.CompileOptions()
    options.num_replicas = options.num_partitions = 1
    assignment = np.array([[devices[0].id]])
    options.device_assignment = xla_client.DeviceAssignment.create(assignment)
    with mlir.make_ir_context():
        module = ir.Module.parse(_jax.mlir.xla_computation_to_mlir_module(computation))
        return devices[0].client.compile(module, _jax.DeviceList(tuple(devices[:1])), options)


def compile_keras_hub(
    topology: str, batch_size: int, image_size: int, num_classes: int, precision: str
) -> Any:
    """Compiles forward pass, loss and gradients of KerasHub's SegFormer-B0."""
    import jax
    import keras
    import numpy as np

    keras.mixed_precision.set_global_policy(precision)
    model = _build_keras_hub(image_size, num_classes)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def compute_loss(weights, others, images, masks):
        logits, _ = model.stateless_call(weights, others, images, training=False)
        return loss(masks, logits)

    mesh = jax.sharding.Mesh(np.array(find_devices(topology)[:1]), ("x",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def describe(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    weights, others = (
        [describe(variable.shape, variable.value.dtype) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    )
    shape = (batch_size, image_size, image_size)
    arguments = weights, others, describe((*shape, 3), "float32"), describe(shape, "int32")
    return jax.jit(jax.value_and_grad(compute_loss)).lower(*arguments).compile()


def _build_keras_hub(image_size: int, num_classes: int) -> Any:
    import keras_hub

    encoder = keras_hub.models.MiTBackbone(
        layerwise_depths=[2, 2, 2, 2],
        image_shape=(image_size, image_size, 3),
        hidden_dims=[32, 64, 160, 256],
        num_layers=4,
        layerwise_num_heads=[1, 2, 5, 8],
        layerwise_sr_ratios=[8, 4, 2, 1],
        max_drop_path_rate=0.0,
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
    )
    backbone = keras_hub.models.SegFormerBackbone(image_encoder=encoder, projection_filters=256)
    return keras_hub.models.SegFormerImageSegmenter(
        backbone=backbone, num_classes=num_classes, preprocessor=None
    )


def describe(program: Any) -> dict[str, float]:
    """Returns the costs of a compiled program, loop bodies counted as often as they run.

    Returns:
        `memory`: temporary memory in bytes. `flops`. `bytes`: bytes that instructions read and
        write, those in the chip's own memory included. `loops`.
    """
    if hasattr(program, "runtime_executable"):
        program = program.runtime_executable()
    cost = program.cost_analysis()
    cost = cost[0] if isinstance(cost, list) else cost
    text = program.hlo_modules()[0].to_string()
    repeated = tpu_loops.repeated_bytes(text)
    return {
        "memory": program.get_compiled_memory_stats().temp_size_in_bytes,
        "flops": cost["flops"],
        "bytes": cost["bytes accessed"] + repeated,
        "loops": tpu_loops.count_loops(text),
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, help="file of tpu_programs; else KerasHub's step")
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--image_size", type=int, default=512)
    parser.add_argument("--num_classes", type=int, default=150)
    parser.add_argument("--precision", default="float32")
    return parser.parse_args()


def main() -> None:
    arguments = vars(_parse())
    path, topology = arguments.pop("program"), arguments.pop("topology")
    program = compile_file(path, topology) if path else compile_keras_hub(topology, **arguments)
    print(json.dumps(describe(program)))


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT)
    main()
