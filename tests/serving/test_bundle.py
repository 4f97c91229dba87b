"""The exported folder: its layout, its signatures in the C++ loader, and its version number."""

import base64
import io
import json
import os
import pathlib
import resource
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported
from tfseg.config import PredictConfig
from tfseg.errors import UserError
from tfseg.serving import bundle, prediction

import tensorflow as tf  # isort: skip  (after tfseg)
from tensorflow.core.protobuf import saved_model_pb2  # isort: skip

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def bundle_dir(tiny_model, tmp_path_factory):
    return bundle.write_bundle(tiny_model, tmp_path_factory.mktemp("export") / "new" / "base")


@pytest.fixture(scope="module")
def loaded(bundle_dir):
    return tf.saved_model.load(str(bundle_dir))


def run_cpp_loader(*arguments):
    """Runs the C++ loader in a process that has neither tfseg nor its environment variables."""
    hidden = ("PYTHONPATH", "TF_USE_LEGACY_KERAS")
    process = subprocess.run(
        [sys.executable, HERE / "cpp_loader.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=HERE,
        env={key: value for key, value in os.environ.items() if key not in hidden},
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_the_layout_is_that_of_tf_serving(bundle_dir):
    assert bundle_dir.name == "1"
    assert [path.name for path in bundle_dir.parent.iterdir()] == ["1"]
    assert (bundle_dir / "saved_model.pb").exists()
    assert (bundle_dir / bundle.WARMUP_FILE).exists()


def test_no_function_requires_xla(bundle_dir):
    """TensorFlow Serving refuses requests that need XLA, unless a flag enables it at the start."""
    saved = saved_model_pb2.SavedModel.FromString((bundle_dir / "saved_model.pb").read_bytes())
    (graph,) = (meta_graph.graph_def for meta_graph in saved.meta_graphs)
    names = [function.signature.name for function in graph.library.function]
    assert any("predict_images" in name for name in names)
    compiled = [
        function.signature.name
        for function in graph.library.function
        if function.attr["_XlaMustCompile"].b
    ]
    assert compiled == []


def test_the_cpp_loader_gives_the_masks_that_predict_writes(
    bundle_dir, tiny_model_dir, make_image, tmp_path
):
    paths = [tmp_path / "first.jpg", tmp_path / "second.jpg"]
    for seed, path in enumerate(paths):
        Image.fromarray(make_image(75 + 40 * seed, 101, seed)).save(path)
    config = PredictConfig(model=tiny_model_dir, output_dir=str(tmp_path / "out"))
    prediction.run_prediction(config, [str(path) for path in paths])
    report = run_cpp_loader(bundle_dir, "serving_default", *paths)
    assert report["modules"] == []
    for path, encoded in zip(paths, report["outputs"]["mask_png_bytes"], strict=True):
        served = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))
        predicted = np.asarray(Image.open(tmp_path / "out" / f"{path.stem}_classes.png"))
        np.testing.assert_array_equal(served, predicted)
        assert len(np.unique(served)) >= 3


def test_every_input_and_output_has_a_free_batch_dimension(loaded):
    for name in ("serving_default", "predict_images", "describe_batch"):
        function = loaded.signatures[name]
        specs = [*function.structured_input_signature[1].values()]
        specs += function.structured_outputs.values()
        assert all(spec.shape[0] is None for spec in specs), name


def test_describe_needs_no_input(loaded):
    (text,) = loaded.signatures["describe"]()["description_json"].numpy()
    assert json.loads(text)["classes"][0] == "sky"


def test_only_the_weights_of_the_network_are_saved(bundle_dir, tiny_model):
    variables = tf.train.list_variables(str(bundle_dir / "variables" / "variables"))
    saved = [shape for name, shape in variables if name != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    expected = [variable.shape.as_list() for variable in tiny_model.network.variables]
    assert sorted(saved) == sorted(expected)


def test_the_warm_up_request_runs(bundle_dir, loaded):
    from tensorflow_serving.apis import prediction_log_pb2

    (record,) = tf.data.TFRecordDataset(str(bundle_dir / bundle.WARMUP_FILE))
    request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
    function = loaded.signatures[request.model_spec.signature_name]
    outputs = function(**{name: tf.make_ndarray(t) for name, t in request.inputs.items()})
    assert outputs["mask_png_bytes"].shape == (1,)


def test_the_default_version_is_one_above_the_newest(tmp_path):
    assert bundle.choose_version(tmp_path / "none") == 1
    for name in ("007", "3", "12.tmp", ".20.x.tmp", "notes"):
        (tmp_path / name).mkdir()
    assert bundle.choose_version(tmp_path) == 8
    assert bundle.choose_version(tmp_path, 4) == 4


def test_an_existing_version_is_refused(tiny_model, tmp_path):
    (tmp_path / "007").mkdir()
    with pytest.raises(UserError, match=r"--version=7 exists .*omit --version to write version 8"):
        bundle.write_bundle(tiny_model, tmp_path, version=7)


def test_a_file_as_export_dir_is_refused(tiny_model, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"--export_dir=.*file is a file"):
        bundle.write_bundle(tiny_model, tmp_path / "file")
    with pytest.raises(UserError, match=r"cannot write .*Not a directory.*--export_dir"):
        bundle.write_bundle(tiny_model, tmp_path / "file" / "base")


def test_a_failed_write_leaves_nothing(tiny_model, tmp_path):
    # A limit on the file size makes TensorFlow's own writes fail half-way, as a full disk does: the
    # weights (230 kB) are below it; the graph, which is written after them, is not.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(UserError, match=r"cannot write .*\(File too large\): free some disk"):
            bundle.write_bundle(tiny_model, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
