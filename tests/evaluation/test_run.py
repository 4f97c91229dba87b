"""Evaluating a saved model gives the metrics that its training run wrote."""

import json
import shutil

import pytest
import safetensors.numpy

from tests.data.exif_files import exif_segment, with_segments
from tfseg.config import DataConfig, EvalConfig, EvalRunConfig
from tfseg.data import pipeline
from tfseg.data.catalog import get_dataset_spec
from tfseg.errors import UserError
from tfseg.evaluation import run as evaluation_run


def make_config(model, dataset, **fields):
    return EvalConfig(
        run=EvalRunConfig(model=str(model), output=fields.pop("output", None)),
        data=DataConfig(dataset=dataset, **fields),
    )


def test_metrics_equal_those_of_the_training_run(boxes_run, boxes_dir, tmp_path):
    model_dir, _, expected = boxes_run
    output = tmp_path / "metrics.json"
    scored = evaluation_run.run_evaluation(
        make_config(model_dir / "best", f"folder:{boxes_dir}", output=str(output))
    )
    assert scored == pytest.approx(expected, abs=1e-6)
    assert json.loads(output.read_text())["mean_iou"] == pytest.approx(expected["mean_iou"])


def test_another_split_and_size_can_be_scored(boxes_run, boxes_dir):
    model_dir, _, expected = boxes_run
    scored = evaluation_run.run_evaluation(
        make_config(
            model_dir / "best", f"folder:{boxes_dir}", eval_split="train", image_size=(96, 64)
        )
    )
    assert scored["loss"] != pytest.approx(expected["loss"])


def test_the_held_out_part_of_the_training_split_is_scored(boxes_run, boxes_dir, caplog):
    model_dir, _, _ = boxes_run
    with caplog.at_level("INFO"):
        evaluation_run.run_evaluation(
            make_config(model_dir / "best", f"folder:{boxes_dir}", eval_fraction=0.3)
        )
    held_out = pipeline.load_split(
        get_dataset_spec(f"folder:{boxes_dir}"),
        DataConfig(dataset=f"folder:{boxes_dir}", eval_fraction=0.3),
        "train",
        None,
        is_held_out=True,
    )
    assert f"on {held_out.num_examples} examples of folder:{boxes_dir} (train)" in caplog.text
    assert 0 < held_out.num_examples < 12


def test_classes_in_another_order_give_the_same_metrics(boxes_run, boxes_dir, tmp_path):
    model_dir, _, expected = boxes_run
    turned = tmp_path / "turned"
    shutil.copytree(model_dir / "best", turned)
    config = json.loads((turned / "config.json").read_text())
    weights = safetensors.numpy.load_file(turned / "model.safetensors")
    order = [2, 0, 1]
    config["id2label"] = {new: config["id2label"][str(old)] for new, old in enumerate(order)}
    config["label2id"] = {name: new for new, name in config["id2label"].items()}
    for part in ("weight", "bias"):
        weights[f"decode_head.classifier.{part}"] = weights[f"decode_head.classifier.{part}"][order]
    (turned / "config.json").write_text(json.dumps(config))
    safetensors.numpy.save_file(weights, turned / "model.safetensors", {"format": "pt"})
    scored = evaluation_run.run_evaluation(make_config(turned, f"folder:{boxes_dir}"))
    assert scored == pytest.approx(expected, abs=1e-6)


def test_other_classes_are_refused_in_one_line(tiny_model_dir, boxes_dir):
    with pytest.raises(UserError) as caught:
        evaluation_run.run_evaluation(make_config(tiny_model_dir, f"folder:{boxes_dir}"))
    assert str(caught.value) == (
        f"--model={tiny_model_dir} predicts 5 classes and --dataset=folder:{boxes_dir} has 3: "
        "sky, road, tree, car, person only in the model, floor, box, light only in the data set; "
        "give the mask values the model's names with --id2label, or merge classes with --label_map"
    )


def test_as_many_classes_of_other_names_are_refused(boxes_run, boxes_dir, tmp_path):
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"0": "floor", "1": "crate", "2": "light"}))
    config = make_config(boxes_run[0] / "best", f"folder:{boxes_dir}", id2label=str(names))
    with pytest.raises(UserError, match="box only in the model, crate only in the data set"):
        evaluation_run.run_evaluation(config)


def test_an_output_that_is_a_folder_is_refused_before_anything_is_read(tmp_path):
    config = make_config("missing", "folder:missing", output=str(tmp_path))
    with pytest.raises(UserError, match=r"--output=.* is a folder; it must be the path of a JSON"):
        evaluation_run.run_evaluation(config)


def test_the_model_decides_whether_photographs_are_turned(boxes_run, boxes_dir, tmp_path):
    data, model = tmp_path / "data", tmp_path / "model"
    shutil.copytree(boxes_dir, data)
    shutil.copytree(boxes_run[0] / "best", model)
    for path in (data / "images" / "val").iterdir():
        path.write_bytes(with_segments(path.read_bytes(), exif_segment(6)))
    config = make_config(model, f"folder:{data}", max_eval_examples=1)
    turned = evaluation_run.run_evaluation(config)
    processor = json.loads((model / "preprocessor_config.json").read_text())
    processor["apply_exif"] = False
    (model / "preprocessor_config.json").write_text(json.dumps(processor))
    stored = evaluation_run.run_evaluation(config)
    original = make_config(model, f"folder:{boxes_dir}", max_eval_examples=1)
    assert stored == pytest.approx(evaluation_run.run_evaluation(original))
    assert stored["loss"] != pytest.approx(turned["loss"], rel=1e-3)
