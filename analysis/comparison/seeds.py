"""Accuracy over seeds: mean, spread, and which differences the spread allows to speak of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.special import stdtrit

CONFIDENCE = 0.95
BEST = "best"
NOT_DISTINGUISHABLE = "not distinguishable from the best"

STANDING_RULE = (
    "± is the sample standard deviation over seeds. ≈ marks what is not distinguishable from the best: the difference "
    "of the means is at most t · s · √(1/n + 1/n_best), the least significant difference at 95 % (two-sided, not "
    "corrected for many comparisons), with s pooled over the rows compared: same data, recipe, resolution, precision "
    "and scale. Where no row has two seeds, nothing is marked."
)


@dataclass(frozen=True)
class SeedScores:
    """One score a seed."""

    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """NaN where nothing was measured."""
        return fmean(self.scores) if self.scores else math.nan

    @property
    def spread(self) -> float:
        """Sample standard deviation; NaN for fewer than two seeds."""
        return stdev(self.scores) if len(self.scores) > 1 else math.nan


def standings(rows: Sequence[SeedScores]) -> list[str]:
    """BEST, NOT_DISTINGUISHABLE or nothing for each row of one comparison; STANDING_RULE says when.

    One spread is pooled from all rows, because two or three seeds alone say little about their own.
    """
    texts = [""] * len(rows)
    measured = [index for index, row in enumerate(rows) if row.scores]
    freedom = sum(len(rows[index].scores) - 1 for index in measured)
    if len(measured) < 2 or freedom == 0:
        return texts
    squares = sum((score - rows[index].mean) ** 2 for index in measured for score in rows[index].scores)
    spread = math.sqrt(squares / freedom)
    quantile = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))
    best = max(measured, key=lambda index: rows[index].mean)
    for index in measured:
        seeds = 1 / len(rows[index].scores) + 1 / len(rows[best].scores)
        if rows[best].mean - rows[index].mean <= quantile * spread * math.sqrt(seeds):
            texts[index] = NOT_DISTINGUISHABLE
    texts[best] = BEST
    return texts
