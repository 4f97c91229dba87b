"""Reads `history.csv`, which has a row for each evaluation."""

from __future__ import annotations

import csv

from etils import epath

from tfseg.errors import UserError


def read_history(path: epath.PathLike) -> list[dict[str, float]]:
    """Reads a `history.csv` with a header. An empty field becomes NaN.

    Args:
        path: A local path or any path that `etils.epath` can read, such as `gs://`.

    Returns:
        For each row, column name -> value.

    Raises:
        UserError: A field is not a number, or a row is longer or shorter than the header.
    """
    lines = epath.Path(path).read_text().splitlines()
    header, *rows = list(csv.reader(lines)) or [[]]
    return [_read_row(path, number, header, row) for number, row in enumerate(rows, 2) if row]


def _read_row(path, number: int, header: list[str], row: list[str]) -> dict[str, float]:
    if len(row) != len(header):
        raise UserError(
            f"{path}, line {number}: expected {len(header)} fields as in the header, "
            f"received {len(row)}"
        )
    try:
        return {name: float(field or "nan") for name, field in zip(header, row, strict=True)}
    except ValueError as error:
        raise UserError(f"{path}, line {number}: expected numbers, received {row}") from error
