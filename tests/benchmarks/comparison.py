"""tfseg's values beside its peers': ratios by round, a table, and what goes into the JSON file."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Comparison:
    """tfseg against a peer, by round.

    Attributes:
        work: Name of the work.
        peer: Whom tfseg is compared to; what follows a `/` is the variant.
        tfseg: tfseg's value of each round.
        peer_values: The peer's.
        unit: Unit of both.
        larger_is_better: Decides which way the ratio goes; over 1 favours tfseg.
    """

    work: str
    peer: str
    tfseg: Sequence[float]
    peer_values: Sequence[float]
    unit: str
    larger_is_better: bool = False

    @property
    def ratios(self) -> list[float]:
        """A ratio a round."""
        pairs = zip(self.tfseg, self.peer_values, strict=True)
        return [own / peer if self.larger_is_better else peer / own for own, peer in pairs]

    def to_json(self) -> dict[str, Any]:
        """Returns medians over the rounds, and the range of the ratio."""
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
    """Compares tfseg to every variant; returns all, and the best variant of each peer."""
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
    """Prints a line a comparison, aligned."""
    print(f"\n{'work':<14}{'peer':<26}{'tfseg':>9}{'peer':>9}  {'unit':<9}{'ratio':>6}  min..max")
    for row in rows:
        figures = row.to_json()
        print(
            f"{row.work:<14}{row.peer:<26}{figures['tfseg']:>9.3f}{figures['peer_value']:>9.3f}  "
            f"{row.unit:<9}{figures['ratio']:>6.2f}  "
            f"{figures['ratio_min']:.2f}..{figures['ratio_max']:.2f} in {figures['rounds']} rounds",
            flush=True,
        )
