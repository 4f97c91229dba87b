"""The model card: what the Hub reads in its metadata, what people read, and what it hides."""

import dataclasses
import re

import numpy as np
import pytest
import yaml
from absl import flags
from huggingface_hub import ModelCard

from tests.hub.conftest import NAMES
from tfseg import cli
from tfseg.config import DataConfig, ExportConfig, HubConfig, ModelConfig, TrainDataConfig
from tfseg.hub import model_card
from tfseg.hub.run_card import run_card, unfinished_run_card

METRICS = {
    "loss": 0.3,
    "mean_iou": 0.5,
    "mean_accuracy": np.float32(0.625),
    "overall_accuracy": 0.75,
    "iou_sky": 0.25,
    "iou_road": np.nan,
    "accuracy_sky": 0.5,
    "accuracy_road": 1.0,
}
COMMIT = "0123456789abcdef" * 2 + "01234567"


def make_card(config, metrics=METRICS, names=NAMES, **options):
    return ModelCard(run_card(config, names, metrics, **options))


def with_data(config, **data):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **data))


def test_the_metadata_name_the_task_the_library_and_the_results(config):
    card = make_card(config)
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "image-segmentation"
    assert {"segformer", "semantic-segmentation", "keras", "tfseg"} <= set(card.data.tags)
    results = card.data.eval_results
    assert {result.metric_type: result.metric_value for result in results} == {
        "mean_iou": 0.5, "mean_accuracy": 0.625, "overall_accuracy": 0.75,
    }  # fmt: skip
    assert {result.task_type for result in results} == {"image-segmentation"}
    assert {result.dataset_name for result in results} == {"streets"}
    assert {result.dataset_split for result in results} == {"val"}


def test_the_model_index_has_the_form_of_the_hub(config):
    """https://huggingface.co/docs/hub/model-cards: model-index, results, task, dataset, metrics."""
    text = str(make_card(config))
    metadata = yaml.safe_load(text.split("---\n")[1])
    (model,) = metadata["model-index"]
    (result,) = model["results"]
    assert result["task"] == {"type": "image-segmentation"}
    assert result["dataset"] == {"name": "streets", "type": "streets", "split": "val"}
    assert result["metrics"][0] == {"type": "mean_iou", "value": 0.5, "name": "Mean IoU"}
    assert [type(metric["value"]) for metric in result["metrics"]] == [float] * 3


def test_a_card_survives_a_round_trip(config):
    card = make_card(config)
    assert str(ModelCard(str(card))) == str(card)


def test_figures_that_are_not_numbers_stay_out_of_the_metadata(config):
    card = make_card(config, {"mean_iou": np.nan, "overall_accuracy": 0.5})
    assert [result.metric_type for result in card.data.eval_results] == ["overall_accuracy"]
    assert make_card(config, {"mean_iou": np.nan}).data.eval_results is None


def test_people_read_the_metrics_the_classes_and_the_picture(config):
    text = make_card(config, picture="predictions.png").text
    for words in (
        "# SegFormer fine-tuned on streets",
        "starts from random weights",
        "images of 64x96 pixels",
        "| Mean IoU | 0.5000 |",
        "| Overall accuracy | 0.7500 |",
        "| id | class | IoU | accuracy |",
        "| 0 | sky | 0.2500 | 0.5000 |",
        "| 1 | road | nan | 1.0000 |",
        "(predictions.png)",
    ):
        assert words in text
    assert "![" not in make_card(config).text


def test_class_names_do_not_break_the_table(config):
    names = ("a|b", "<script>", "two\nlines")
    text = make_card(config, {}, names).text
    for row in ("| 0 | a\\|b |", "| 1 | &lt;script&gt; |", "| 2 | two lines |"):
        assert row in text


def test_first_weights_from_the_hub_are_the_base_model(config):
    model = ModelConfig(init_from="nvidia/mit-b0", revision=COMMIT)
    card = make_card(dataclasses.replace(config, model=model))
    assert card.data.base_model == "nvidia/mit-b0"
    assert "https://huggingface.co/nvidia/mit-b0" in card.text


@pytest.mark.parametrize("init_from", ["scratch", "models/mine", "/disk/me/models/mine/"])
def test_a_local_checkpoint_is_no_base_model(config, init_from):
    card = make_card(dataclasses.replace(config, model=ModelConfig(init_from=init_from)))
    assert card.data.base_model is None
    assert init_from == "scratch" or "the local checkpoint `mine`" in card.text


def test_a_data_set_of_the_hub_is_linked(config, tmp_path, monkeypatch):
    card = make_card(with_data(config, dataset="hf:anna/streets"))
    assert card.data.datasets == ["anna/streets"]
    assert card.data.eval_results[0].dataset_type == "anna/streets"
    (tmp_path / "anna" / "streets").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert make_card(with_data(config, dataset="hf:anna/streets")).data.datasets is None


@pytest.mark.parametrize(
    ("dataset", "title", "kind"),
    [
        ("oxford_iiit_pet:4.0.0", "oxford_iiit_pet:4.0.0", "oxford_iiit_pet-4.0.0"),
        ("tfds:my_data:1.0.0", "my_data:1.0.0", "my_data-1.0.0"),
        ("hf:/disk/me/saved", "saved", "saved"),
        ("folder:../Some Streets/", "Some Streets", "some-streets"),
    ],
)
def test_data_sets_have_short_names(config, dataset, title, kind):
    (result, *_) = make_card(with_data(config, dataset=dataset)).data.eval_results
    assert (result.dataset_name, result.dataset_type) == (title, kind)


def test_relative_folders_of_who_trained_are_not_published_either(config):
    data = DataConfig(
        dataset="folder:clients/acme/streets",
        id2label="acme/names.json",
        eval_split="val",
        image_size=(64, 96),
    )
    model = ModelConfig(init_from="runs/acme/best")
    text = make_card(dataclasses.replace(config, data=data, model=model)).text
    for line in ("--dataset=folder:streets", "--id2label=names.json", "--init_from=best"):
        assert f"\n{line}\n" in text
    assert "acme" not in text


def test_flags_are_given_without_the_folders_and_machines_of_who_trained(config):
    config = dataclasses.replace(
        config,
        data=DataConfig(
            dataset="folder:/disk/me/streets",
            data_dir="/disk/me/tfds",
            id2label="~/secret/names.json",
            label_map="../me/map.json",
            eval_split="val",
            image_size=(64, 96),
        ),
        train_data=TrainDataConfig(data_service="grpc://10.0.0.1:5000"),
        model=ModelConfig(init_from="gs://bucket/me/weights"),
        run=dataclasses.replace(config.run, model_dir="/disk/me/runs/x", tpu="my-tpu"),
        hub=HubConfig(push_to_hub=True, hub_model_id="anna/x"),
    )
    text = make_card(config).text
    for line in (
        "--dataset=folder:streets",
        "--id2label=names.json",
        "--label_map=map.json",
        "--init_from=weights",
        "--image_size=64,96",
        "--epochs=5",
    ):
        assert f"\n{line}\n" in text
    for hidden in ("me/", "secret", "bucket", "10.0.0.1", "my-tpu", "tfds", "push_to_hub"):
        assert hidden not in text.split("## Training")[1]


def test_a_run_that_has_not_ended_says_so(config):
    logs = {"loss": 1.0, "val_loss": 2.0, "val_mean_iou": 0.5}
    card = ModelCard(unfinished_run_card(config, NAMES, logs, 3))
    assert "these are the weights after epoch 3" in card.text
    assert "| 0 | sky |\n| 1 | road |" in card.text
    assert [result.metric_type for result in card.data.eval_results] == ["mean_iou"]


def code_of(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_code_for_keras_runs(config, tiny_model_dir):
    keras, _ = code_of(make_card(config).text, "python")
    names = {}
    exec(keras.replace(model_card.PLACEHOLDER, tiny_model_dir), names)
    assert names["class_map"].shape == (64, 96)


@pytest.mark.slow
def test_the_code_for_pytorch_runs(config, tiny_model_dir):
    _, pytorch = code_of(make_card(config).text, "python")
    names = {}
    exec(pytorch.replace(model_card.PLACEHOLDER, tiny_model_dir), names)
    assert names["class_map"].shape == (480, 640)


def test_the_command_for_tf_serving_parses(config):
    (shell,) = code_of(make_card(config).text, "sh")
    words = shell.splitlines()[0].split()
    assert words[:3] == ["python", "-m", "tfseg.export"]
    values = flags.FlagValues()
    cli.define_export_flags(values)
    values(words[2:])
    assert cli.config_from_flags(ExportConfig, values).model == model_card.PLACEHOLDER
    assert '{"instances": [{"image_bytes": {"b64": "' in shell
