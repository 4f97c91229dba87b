"""Compares tfseg's measured values to its peers': ratio per round, printed table, JSON rows."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The values of tfseg and of one peer, per round.

    Attributes:
        work: Name of the work.
        peer: Name of the peer, followed by `/` and the variant if the peer has several.
        tfseg: tfseg's value in each round.
        peer_values: The peer's value in each round.
        unit: Unit of both.
        larger_is_better: Whether larger values are better. It decides which value the ratio divides
            by, so that a ratio above 1 always favours tfseg.
    """

    work: str
    peer: str
    tfseg: Sequence[float]
    peer_values: Sequence[float]
    unit: str
    larger_is_better: bool = False

    @property
    def ratios(self) -> list[float]:
        """One ratio per round; above 1 favours tfseg."""
        pairs = zip(self.tfseg, self.peer_values, strict=True)
        return [own / peer if self.larger_is_better else peer / own for own, peer in pairs]

    def to_json(self) -> dict[str, Any]:
        """Returns the medians over the rounds, and the range of the ratio, as in the JSON file."""
        return {
            "work": self.work,
            "peer": self.peer.partition("/")[0],
            "ratio": statistics.median(self.ratios),
            "ratio_min": min(self.ratios),
            "ratio_max": max(self.ratios),
            "tfseg": statistics.median(self.tfseg),
            "peer_value": statistics.median(self.peer_values),
            "unit": self.unit,
            "rounds": len(self.ratios),
        }


def compare(
    work: str, values: Mapping[str, list[float]], unit: str
) -> tuple[list[Comparison], list[Comparison]]:
    """Compares tfseg to every variant. Returns all rows, and those of each peer's best variant."""
    rows = [
        Comparison(work, name, values["tfseg"], values[name], unit)
        for name in values
        if name != "tfseg"
    ]
    best = {}
    for row in sorted(rows, key=lambda row: statistics.median(row.peer_values), reverse=True):
        best[row.peer.partition("/")[0]] = row
    return rows, [row for row in rows if row in best.values()]


def print_table(rows: Sequence[Comparison]) -> None:
    """Prints an aligned table with one line per comparison."""
    print(f"\n{'work':<14}{'peer':<26}{'tfseg':>9}{'peer':>9}  {'unit':<9}{'ratio':>6}  min..max")
    for row in rows:
        values = row.to_json()
        print(
            f"{row.work:<14}{row.peer:<26}{values['tfseg']:>9.3f}{values['peer_value']:>9.3f}  "
            f"{row.unit:<9}{values['ratio']:>6.2f}  "
            f"{values['ratio_min']:.2f}..{values['ratio_max']:.2f} in {values['rounds']} rounds",
            flush=True,
        )
