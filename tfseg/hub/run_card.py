"""The model card of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfseg.config import serialization
from tfseg.config.commands import TrainConfig
from tfseg.hub.model_card import model_card


def run_card(
    config: TrainConfig,
    names: Sequence[str],
    metrics: Mapping[str, float],
    *,
    note: str = "",
    picture: str | None = None,
) -> str:
    """Returns the model card of a run with a resolved configuration; see `model_card`."""
    return model_card(
        names,
        metrics,
        dataset=config.data.dataset,
        split=config.data.eval_split,
        init_from=config.model.init_from,
        image_size=config.data.image_size,
        revision=config.model.revision,
        flags=serialization.flagfile_text(config, ""),
        note=note,
        picture=picture,
    )


def unfinished_run_card(
    config: TrainConfig, names: Sequence[str], logs: Mapping[str, float], epoch: int | None
) -> str:
    """Returns the card of a run that has not ended.

    Args:
        config: The resolved configuration.
        names: The classes, by class id.
        logs: Metrics of the best epoch so far, as in `history.csv`: `val_mean_iou` and its like.
        epoch: That epoch, from 1; None if it is not known, as before the first row of the history.
    """
    metrics = {
        name.removeprefix("val_"): float(value)
        for name, value in logs.items()
        if name.startswith("val_")
    }
    when = "of its first evaluation" if epoch is None else f"after epoch {epoch}"
    note = f"The training has not ended: these are the weights {when}."
    return run_card(config, names, metrics, note=note)
