"""The table of evaluations, `history.csv`."""

from __future__ import annotations

import csv
import io

import tensorflow as tf
from etils import epath

from tfseg import files


class WriteHistory(tf.keras.callbacks.Callback):
    """Writes `history.csv`: one row per evaluation, with epoch, step, learning rate and metrics.

    Each evaluation rewrites the whole file under a temporary name and then renames it, so a kill
    leaves the old table or the new one. A resumed run drops the rows of the epochs that it repeats.

    Args:
        path: The CSV file.
        first_epoch: Number of epochs that are done when the run starts.
    """

    def __init__(self, path: epath.PathLike, first_epoch: int):
        super().__init__()
        self._path = epath.Path(path)
        self._rows: list[dict] = []
        if self._path.exists():
            rows = list(csv.DictReader(io.StringIO(self._path.read_text())))
            self._rows = [row for row in rows if int(row["epoch"]) <= first_epoch]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Adds a row if this epoch was evaluated."""
        if "val_mean_iou" not in logs:
            return
        optimizer = self.model.optimizer
        step = int(optimizer.iterations.numpy())
        row = {
            "epoch": epoch + 1,
            "step": step,
            "learning_rate": float(optimizer.learning_rate.numpy()),
        }
        self._rows.append({**row, **{name: float(value) for name, value in logs.items()}})
        files.write_atomically(self._path, _to_csv(self._rows))


def _to_csv(rows: list[dict]) -> str:
    text = io.StringIO()
    # Rows that were written before a resumption may have other metrics.
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, fieldnames=list(columns), restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
