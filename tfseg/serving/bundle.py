"""The folder that TF Serving loads: `<base>/<version>/`, with a warm-up request inside."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf
from etils import epath

from tfseg import files
from tfseg.errors import UserError
from tfseg.models.segformer import Segformer
from tfseg.serving.module import ServingModule

# Read by the server when it loads a version, so that the first request finds a warm graph.
# https://www.tensorflow.org/tfx/serving/saved_model_warmup
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"

_WARMUP_IMAGE_SIZE = (32, 32)


def write_bundle(
    model: Segformer, base_dir: epath.PathLike, *, version: int | None = None
) -> epath.Path:
    """Writes a model as a SavedModel with the signatures of `ServingModule`.

    It is written under a name that TF Serving takes for no version, then renamed.

    Args:
        model: The SegFormer; its weights and `preprocessing` go into the SavedModel.
        base_dir: Folder of all versions; made where it does not exist.
        version: Version number; one above the newest in `base_dir` where None.

    Returns:
        `<base_dir>/<version>`.

    Raises:
        UserError: The version exists, or the folder cannot be written.
    """
    base = epath.Path(base_dir).expanduser()
    target = base / str(choose_version(base, version))
    module = ServingModule(model)
    try:
        with files.replacing(target) as temporary:
            tf.saved_model.save(module, os.fspath(temporary), signatures=module.signatures)
            _write_warmup_request(temporary / WARMUP_FILE)
    except (OSError, tf.errors.OpError) as error:
        # TensorFlow's message ends in the cause: "...variables/part-0; No space left on device".
        reason = getattr(error, "strerror", None) or str(error).rpartition("; ")[2]
        raise UserError(
            f"cannot write the SavedModel to {target} ({reason}): make room, or choose another "
            "folder (--export_dir; --model_dir in training)"
        ) from error
    return target


def choose_version(base_dir: epath.PathLike, version: int | None = None) -> int:
    """Returns `version`, or one above the newest in `base_dir` where None.

    Raises:
        UserError: The version exists, or `base_dir` is a file.
    """
    base = epath.Path(base_dir).expanduser()
    if base.exists() and not base.is_dir():
        raise UserError(f"--export_dir={base} is a file; it takes a folder")
    # TF Serving reads 007 as 7.
    names = [path.name for path in base.iterdir()] if base.exists() else []
    versions = {int(name) for name in names if name.isdecimal()}
    newest = max(versions, default=0)
    if version in versions:
        raise UserError(
            f"--version={version} exists in {base} and is not overwritten; leave --version out "
            f"for {newest + 1}"
        )
    return newest + 1 if version is None else version


def _write_warmup_request(path: epath.Path) -> None:
    # Importing the protos pulls in grpc, which only this needs.
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    gray = np.full((*_WARMUP_IMAGE_SIZE, 3), 128, np.uint8)
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "serving_default"
    request.inputs["image_bytes"].CopyFrom(
        tf.make_tensor_proto([tf.io.encode_jpeg(gray).numpy()], tf.string)
    )
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        writer.write(log.SerializeToString())
