"""Evaluating a saved model gives the metrics that its training run wrote."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from tests.conftest import BOX_NAMES, NUM_EVAL_BOXES
from tests.data.exif_files import exif_segment, with_segments
from tfseg.config import DataConfig, EvalConfig, EvalRunConfig
from tfseg.data import pipeline
from tfseg.data.catalog import get_dataset_spec
from tfseg.errors import UserError
from tfseg.evaluation import bootstrap, eval_file
from tfseg.evaluation import run as evaluation_run

RUN_FIELDS = {field.name for field in dataclasses.fields(EvalRunConfig)}


def make_config(model, dataset, **fields):
    run = {name: fields.pop(name) for name in RUN_FIELDS & set(fields)}
    run = {name: str(value) for name, value in run.items()}
    return EvalConfig(
        run=EvalRunConfig(model=model and str(model), **run),
        data=DataConfig(dataset=dataset, **fields),
    )


@pytest.fixture(scope="module")
def written(boxes_run, boxes_dir, tmp_path_factory):
    """(metrics, JSON file, folder of masks) of an evaluation of the trained model."""
    folder = tmp_path_factory.mktemp("evaluation")
    output, masks = folder / "eval.json", folder / "masks"
    best, dataset = boxes_run[0] / "best", f"folder:{boxes_dir}"
    config = make_config(best, dataset, output=output, save_predictions=masks)
    return evaluation_run.run_evaluation(config), output, masks


@pytest.mark.slow
def test_metrics_equal_those_of_the_training_run(boxes_run, written):
    metrics, output, _ = written
    expected = boxes_run[2]
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert metrics["mean_iou_low"] <= metrics["mean_iou"] <= metrics["mean_iou_high"]
    assert json.loads(output.read_text())["mean_iou"] == pytest.approx(expected["mean_iou"])


@pytest.mark.slow
def test_the_file_has_the_counts_of_each_image_by_its_name(written, boxes_dir):
    metrics, output, masks = written
    values = json.loads(output.read_text())
    assert list(values["images"]) == [str(index) for index in range(NUM_EVAL_BOXES)]
    for name, counts in values["images"].items():
        truth = np.array(Image.open(boxes_dir / "annotations" / "val" / f"{name}.png"))
        class_map = np.array(Image.open(masks / f"{name}.png"))
        class_map = np.where(truth == 255, 255, class_map)
        for class_id in range(3):
            is_true, is_predicted = truth == class_id, class_map == class_id
            expected = [np.sum(is_true & is_predicted), np.sum(is_true), np.sum(is_predicted)]
            assert counts.get(str(class_id), [0, 0, 0]) == expected
    record = eval_file.read(str(output))
    assert record.classes == BOX_NAMES
    interval = bootstrap.mean_iou_interval(record.counts)
    assert interval == (metrics["mean_iou_low"], metrics["mean_iou_high"])


@pytest.mark.slow
def test_masks_on_disk_score_as_the_model_that_wrote_them(written, boxes_dir, caplog):
    metrics, output, masks = written
    config = make_config(None, f"folder:{boxes_dir}", predictions=masks, compare=output)
    with caplog.at_level("INFO"):
        scored = evaluation_run.run_evaluation(config)
    assert "loss" not in scored
    expected = {**metrics, "mean_iou_difference": 0.0}
    expected |= {"mean_iou_difference_low": 0.0, "mean_iou_difference_high": 0.0}
    del expected["loss"]
    assert scored == expected
    assert f"{masks} (mean IoU {metrics['mean_iou']:.4f}) neither beats nor loses" in caplog.text
    assert "+0.0000 to +0.0000 over the same 5 images, which contains 0" in caplog.text


@pytest.mark.slow
def test_perfect_masks_beat_the_model(written, boxes_dir, tmp_path, caplog):
    perfect, output = tmp_path / "perfect", tmp_path / "perfect.json"
    perfect.mkdir()
    for path in (boxes_dir / "annotations" / "val").iterdir():
        Image.fromarray(np.array(Image.open(path)) % 255).save(perfect / path.name)
    config = make_config(
        None, f"folder:{boxes_dir}", predictions=perfect, compare=written[1], output=output
    )
    with caplog.at_level("INFO"):
        scored = evaluation_run.run_evaluation(config)
    assert scored["mean_iou"] == scored["mean_dice"] == scored["mean_iou_low"] == 1
    assert scored["mean_iou_difference"] == pytest.approx(1 - written[0]["mean_iou"])
    assert f"{perfect} (mean IoU 1.0000) beats {written[1]}" in caplog.text
    caplog.clear()
    config = make_config(None, f"folder:{boxes_dir}", predictions=written[2], compare=output)
    with caplog.at_level("INFO"):
        evaluation_run.run_evaluation(config)
    assert "is worse than" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["saved_model", "saved_model/1"])
def test_an_exported_model_scores_as_the_one_it_was_exported_from(
    boxes_run, boxes_dir, written, folder, tmp_path
):
    model = f"saved_model:{boxes_run[0] / folder}"
    config = make_config(model, f"folder:{boxes_dir}", save_predictions=tmp_path / "masks")
    scored = evaluation_run.run_evaluation(config)
    expected = {name: value for name, value in written[0].items() if name != "loss"}
    assert scored == pytest.approx(expected, abs=2e-3)
    saved, own = (np.array(Image.open(path / "3.png")) for path in (tmp_path / "masks", written[2]))
    assert np.mean(saved != own) < 1e-2


@pytest.mark.slow
def test_views_are_averaged_and_their_masks_scored(boxes_run, boxes_dir, written, tmp_path):
    dataset, masks = f"folder:{boxes_dir}", tmp_path / "masks"
    options = {"tta": "flip,1.0,1.5", "save_predictions": masks}
    scored = evaluation_run.run_evaluation(make_config(boxes_run[0] / "best", dataset, **options))
    assert scored["loss"] != pytest.approx(written[0]["loss"], rel=1e-3)
    alone = evaluation_run.run_evaluation(make_config(None, dataset, predictions=masks))
    assert alone == {name: value for name, value in scored.items() if name != "loss"}


@pytest.mark.slow
def test_a_comparison_with_other_images_is_refused_before_scoring(written, boxes_dir, tmp_path):
    config = make_config(
        None, f"folder:{boxes_dir}", predictions=tmp_path, compare=written[1], max_eval_examples=3
    )
    with pytest.raises(UserError, match="other images: 2 are only there and 0 only here, such as"):
        evaluation_run.run_evaluation(config)


@pytest.mark.slow
def test_a_comparison_with_other_masks_of_the_same_names_is_refused(written, boxes_dir, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(boxes_dir, data)
    path = data / "annotations" / "val" / "2.png"
    mask = np.array(Image.open(path))
    mask[-1, -1] = 1
    Image.fromarray(mask).save(path)
    config = make_config(None, f"folder:{data}", predictions=written[2], compare=written[1])
    with pytest.raises(UserError, match="scored 2 against another mask, as 1 of 5 images"):
        evaluation_run.run_evaluation(config)


@pytest.mark.slow
def test_a_folder_without_masks_for_evaluation_is_refused(boxes_run, boxes_dir, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(boxes_dir, data)
    shutil.rmtree(data / "annotations" / "val")
    with pytest.raises(UserError, match=r"no folder .*annotations/val; splits there: train"):
        evaluation_run.run_evaluation(make_config(boxes_run[0] / "best", f"folder:{data}"))


@pytest.mark.slow
def test_a_split_of_void_alone_is_refused(boxes_dir, written, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(boxes_dir, data)
    for path in (data / "annotations" / "val").iterdir():
        Image.fromarray(np.full_like(np.array(Image.open(path)), 255)).save(path)
    config = make_config(None, f"folder:{data}", predictions=written[2])
    with pytest.raises(UserError, match=r"every pixel of the 5 eval examples is void.*test split"):
        evaluation_run.run_evaluation(config)


@pytest.mark.slow
def test_another_split_and_size_can_be_scored(boxes_run, boxes_dir):
    model_dir, _, expected = boxes_run
    scored = evaluation_run.run_evaluation(
        make_config(
            model_dir / "best", f"folder:{boxes_dir}", eval_split="train", image_size=(96, 64)
        )
    )
    assert scored["loss"] != pytest.approx(expected["loss"])


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert {name: scored[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_other_classes_are_refused_in_one_line(tiny_model_dir, boxes_dir):
    with pytest.raises(UserError) as caught:
        evaluation_run.run_evaluation(make_config(tiny_model_dir, f"folder:{boxes_dir}"))
    assert str(caught.value) == (
        f"--model={tiny_model_dir} predicts 5 classes and --dataset=folder:{boxes_dir} has 3: "
        "sky, road, tree, car, person only in the model, floor, box, light only in the data set; "
        "give the mask values the model's names with --id2label, or merge classes with --label_map"
    )


@pytest.mark.slow
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


@pytest.mark.slow
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
