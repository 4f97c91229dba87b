"""The folder that TF Serving loads: `<base_dir>/<version>/`, which includes a warm-up request."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf
from etils import epath

from tfseg import files
from tfseg.errors import UserError
from tfseg.models.segformer import Segformer
from tfseg.serving.module import ServingModule

# The server replays these requests when it loads a version, so that the first real request is fast.
# https://www.tensorflow.org/tfx/serving/saved_model_warmup
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"

_WARMUP_IMAGE_SIZE = (32, 32)


def write_bundle(
    model: Segformer, base_dir: epath.PathLike, *, version: int | None = None
) -> epath.Path:
    """Writes a model as a SavedModel with the signatures of `ServingModule`.

    The folder is first written under a temporary name, which TF Serving does not take for a
    version, and then renamed. A server that watches `base_dir` therefore never loads half a model.

    Args:
        model: The SegFormer, whose weights and `preprocessing` go into the SavedModel.
        base_dir: Folder that holds all versions. It is created if it does not exist.
        version: Version number. If None, one above the newest version in `base_dir`.

    Returns:
        `<base_dir>/<version>`.

    Raises:
        UserError: The version exists already, or the folder cannot be written.
    """
    base = epath.Path(base_dir).expanduser()
    target = base / str(choose_version(base, version))
    module = ServingModule(model)
    try:
        with files.replacing(target) as temporary:
            tf.saved_model.save(module, os.fspath(temporary), signatures=module.signatures)
            _write_warmup_request(temporary / WARMUP_FILE)
    except (OSError, tf.errors.OpError) as error:
        # TensorFlow's message ends with the cause: "...variables/part-0; No space left on device".
        reason = getattr(error, "strerror", None) or str(error).rpartition("; ")[2]
        raise UserError(
            f"cannot write the SavedModel to {target} ({reason}): free some disk space, or choose "
            "another folder with --export_dir (in training: --model_dir)"
        ) from error
    return target


def choose_version(base_dir: epath.PathLike, version: int | None = None) -> int:
    """Returns `version`, or one above the newest version in `base_dir` if `version` is None.

    Raises:
        UserError: The version exists already, or `base_dir` is a file.
    """
    base = epath.Path(base_dir).expanduser()
    if base.exists() and not base.is_dir():
        raise UserError(f"--export_dir={base} is a file; it must be a folder")
    # TF Serving reads the folder name 007 as version 7.
    names = [path.name for path in base.iterdir()] if base.exists() else []
    versions = {int(name) for name in names if name.isdecimal()}
    newest = max(versions, default=0)
    if version in versions:
        raise UserError(
            f"--version={version} exists in {base} already, and tfseg does not overwrite versions; "
            f"omit --version to write version {newest + 1}"
        )
    return newest + 1 if version is None else version


def _write_warmup_request(path: epath.Path) -> None:
    # Imported here because the protos load grpc, which nothing else needs.
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
