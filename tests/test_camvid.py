"""Real street photographs, where they are at hand: train, predict, serve."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.serving.test_bundle import run_cpp_loader
from tfseg.config import (
    DataConfig,
    ModelConfig,
    PredictConfig,
    RunConfig,
    TrainConfig,
    TrainDataConfig,
    TrainingConfig,
)
from tfseg.serving import prediction
from tfseg.training.run import run_training

CAMVID = Path(__file__).parents[2] / "shared" / "data" / "camvid"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CAMVID.is_dir(), reason=f"CamVid is not at {CAMVID}"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    model_dir = tmp_path_factory.mktemp("runs") / "camvid"
    config = TrainConfig(
        data=DataConfig(dataset=f"folder:{CAMVID}", image_size=(96, 128), max_eval_examples=8),
        train_data=TrainDataConfig(max_train_examples=48),
        model=ModelConfig(init_from="scratch"),
        training=TrainingConfig(epochs=8),
        run=RunConfig(model_dir=str(model_dir), eval_every=4),
    )
    return model_dir, run_training(config)


def test_photographs_are_learned(run):
    """48 small photographs are enough to tell sky, road and building apart."""
    _, figures = run
    assert figures["overall_accuracy"] > 0.5
    assert figures["iou_road"] > 0.3


def test_the_cpp_loader_gives_what_predict_writes_for_photographs(run, tmp_path):
    model_dir, _ = run
    photo = sorted((CAMVID / "images" / "val").iterdir())[0]
    config = PredictConfig(model=str(model_dir / "best"), output_dir=str(tmp_path))
    (result,) = prediction.run_prediction(config, [str(photo)])
    predicted = np.asarray(Image.open(tmp_path / f"{photo.stem}_classes.png"))
    report = run_cpp_loader(model_dir / "saved_model" / "1", "serving_default", photo)
    (encoded,) = report["outputs"]["mask_png_bytes"]
    served = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))
    np.testing.assert_array_equal(served, predicted)
    assert served.shape == (360, 480)
    in_file = json.loads((tmp_path / f"{photo.stem}.json").read_text())
    assert {**result, "segments": in_file["segments"]} == in_file
    assert sum(entry["share"] for entry in result["classes"]) == pytest.approx(1.0)
