"""`tfseg.eval` gives the figures of the run that trained the model."""

import json

import pytest

from tfseg.config import DataConfig, EvalConfig, EvalRunConfig
from tfseg.errors import UserError
from tfseg.evaluation import run as evaluation_run


def make_config(model, dataset, **fields):
    return EvalConfig(
        run=EvalRunConfig(model=str(model), output=fields.pop("output", None)),
        data=DataConfig(dataset=dataset, **fields),
    )


def test_figures_equal_the_runs(boxes_run, boxes_dir, tmp_path):
    model_dir, _, figures = boxes_run
    output = tmp_path / "figures.json"
    scored = evaluation_run.run_evaluation(
        make_config(model_dir / "best", f"folder:{boxes_dir}", output=str(output))
    )
    assert scored == pytest.approx(figures, abs=1e-6)
    assert json.loads(output.read_text())["mean_iou"] == pytest.approx(figures["mean_iou"])


def test_another_split_and_size_can_be_scored(boxes_run, boxes_dir):
    model_dir, _, figures = boxes_run
    scored = evaluation_run.run_evaluation(
        make_config(
            model_dir / "best", f"folder:{boxes_dir}", eval_split="train", image_size=(96, 64)
        )
    )
    assert scored["loss"] != pytest.approx(figures["loss"])


def test_a_data_set_of_other_classes_is_refused(tiny_model_dir, boxes_dir):
    with pytest.raises(UserError, match=r"predicts 5 classes .* holds 3 classes"):
        evaluation_run.run_evaluation(make_config(tiny_model_dir, f"folder:{boxes_dir}"))
