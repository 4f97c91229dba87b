"""The script of docs/coming_from.md runs, and the flags that the page names exist."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from absl import flags

from tfseg import cli
from tfseg.models import load_model

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "coming_from.md").read_text()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"--([a-z_0-9]+)", PAGE))))
def test_flags_exist(name):
    of_train, of_eval = flags.FlagValues(), flags.FlagValues()
    cli.define_train_flags(of_train)
    cli.define_eval_flags(of_eval)
    assert name in {*of_train, *of_eval, "flagfile"}


@pytest.mark.slow
def test_the_script_of_the_guide_runs(tmp_path, monkeypatch):
    """On drawn scenes and tiny weights, with one epoch instead of 50."""
    (script,) = re.findall(r"<!-- script: guide -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert script.count("epochs=50") == 1
    script = (
        script.replace("epochs=50", "epochs=1")
        .replace("nvidia/mit-b0", "weights")
        .replace("(512, 512)", "(64, 64)")
    )
    monkeypatch.chdir(tmp_path)
    _write_scenes(tmp_path / "scenes.parquet")
    _write_weights(tmp_path / "weights")
    Path("id2label.json").write_text(
        json.dumps({str(index): f"kind {index}" for index in range(3)})
    )
    Path("script.py").write_text(script)
    outcome = runpy.run_path("script.py")
    (score,) = outcome["history"].history["val_mean_iou"]
    assert 0 < score < 1
    assert load_model("scenes").labels.names == ("kind 0", "kind 1", "kind 2")


def _write_scenes(path):
    import datasets
    from PIL import Image

    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)) for _ in range(10)]
    masks = [Image.fromarray(rng.integers(0, 4, (40, 60), np.uint8)) for _ in range(10)]
    features = {"image": datasets.Image(), "annotation": datasets.Image()}
    columns = {"image": images, "annotation": masks}
    datasets.Dataset.from_dict(columns, datasets.Features(features)).to_parquet(path)


def _write_weights(folder):
    """Writes an untrained encoder's folder; its weights do not matter here."""
    from transformers import (
        SegformerConfig,
        SegformerImageProcessor,
        TFSegformerForSemanticSegmentation,
    )

    config = SegformerConfig(
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        num_labels=3,
    )
    model = TFSegformerForSemanticSegmentation(config)
    model(np.zeros([1, 3, 64, 64], np.float32))
    model.save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
