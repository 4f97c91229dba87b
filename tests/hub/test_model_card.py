"""The model card tells where a model comes from and how well it does."""

import numpy as np

from tfseg.data.labels import LabelSpec
from tfseg.hub import model_card


def test_the_card_states_the_origin_the_metrics_and_every_class():
    metrics = {"mean_iou": 0.5, "overall_accuracy": 0.75, "iou_sky": 0.25, "iou_road": np.nan}
    card = model_card.model_card(
        LabelSpec(("sky", "road")), metrics, dataset="streets:1.0.0", init_from="scratch"
    )
    assert card.startswith("---\nlibrary_name: transformers\n")
    for words in (
        "streets:1.0.0",
        "random weights",
        "0.5000",
        "| sky | 0.2500 |",
        "| road | nan |",
    ):
        assert words in card
