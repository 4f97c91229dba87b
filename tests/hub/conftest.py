"""A folder of a run to upload."""

import pytest

from tfseg.config import DataConfig, ModelConfig, TrainConfig, serialization
from tfseg.data.labels import LabelSpec
from tfseg.hub import run_card

NAMES = ("sky", "road")


@pytest.fixture
def config():
    """A resolved configuration."""
    return TrainConfig(
        data=DataConfig(dataset="folder:/disk/me/streets", eval_split="val", image_size=(64, 96)),
        model=ModelConfig(init_from="scratch"),
    )


@pytest.fixture
def model_dir(config, tmp_path):
    """What `tfseg.push` reads of a run, with bytes in the place of weights."""
    folder = tmp_path / "streets-b0"
    (folder / "best").mkdir(parents=True)
    (folder / "config.json").write_text(serialization.to_json(config))
    (folder / "labels.json").write_text(LabelSpec(NAMES).to_json())
    header = "epoch,step,loss,val_loss,val_mean_iou,val_mean_accuracy\n"
    (folder / "history.csv").write_text(
        header + "1,3,2,2,0.25,0.5\n2,6,1,1,0.75,0.875\n3,9,1,1,0.5,1\n"
    )
    contents = {
        "config.json": b'{"model_type": "segformer"}',
        "preprocessor_config.json": b"{}",
        "model.safetensors": bytes(range(256)) * 100,
        "predictions.png": b"\x89PNG" + bytes(5000),
        "README.md": run_card.run_card(config, NAMES, {"mean_iou": 0.75}).encode(),
    }
    for name, content in contents.items():
        (folder / "best" / name).write_bytes(content)
    return folder
