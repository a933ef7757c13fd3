"""Seeds whose training went wrong: they are named and counted, and do not decide how much seeds differ."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.stats import t

ERROR = 0.01
"""The probability that any seed of a comparison is called diverged where none is, if scores are normal."""

LEAST_DISTANCE = 10.0
"""In pooled standard deviations: what is nearer is a bad seed, and bad seeds belong to a mixer."""

MOST_SHARE = 0.25
"""More seeds than these are no exceptions."""


def diverged(rows: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """(row, place in the row) of scores far below the others of their row, by the spread pooled over all rows.

    Rosner's procedure for several outliers (1983, Technometrics 25), on one side: the lowest is taken out again
    and again, and then the last step decides at which distance was still significant, so that two seeds that diverged
    do not hide each other. A row keeps the greater part of its scores: of two, or of most of them, nobody can say that
    they are the exception, and a mixer that learns with one seed of three has not the accuracy of that one. Without two
    more scores than rows nothing can be said.
    """
    scores = [np.asarray(row, dtype=np.float64) for row in rows]
    kept = [np.ones(len(row), dtype=bool) for row in scores]
    number = sum(len(row) for row in scores)
    taken: list[tuple[int, int]] = []
    last_significant = 0
    for _ in range(max(1, int(MOST_SHARE * number))):
        freedom = sum(max(int(mask.sum()) - 1, 0) for mask in kept)
        candidate = _lowest(scores, kept)
        if freedom < 2 or candidate is None:
            break
        row, place = candidate
        kept[row][place] = False
        taken.append(candidate)
        others = scores[row][kept[row]]
        squares = sum(((part[mask] - part[mask].mean()) ** 2).sum() for part, mask in zip(scores, kept, strict=True))
        spread = np.sqrt(squares / (freedom - 1))
        distance = (others.mean() - scores[row][place]) / np.sqrt(1 + 1 / len(others))
        limit = max(LEAST_DISTANCE, _critical(number, freedom - 1))
        if spread > 0 and distance > limit * spread:
            last_significant = len(taken)
    return sorted(taken[:last_significant])


@cache
def _critical(number: int, freedom: int) -> float:
    """How many standard deviations one of `number` scores is away from its row at most, but with probability ERROR."""
    return float(t.ppf(1 - ERROR / number, freedom))


def _lowest(scores: Sequence[np.ndarray], kept: Sequence[np.ndarray]) -> tuple[int, int] | None:
    """The score furthest below the mean of its row, in standard deviations of that distance; of no row of which the
    greater part would not remain."""
    found, largest = None, 0.0
    for row, (values, mask) in enumerate(zip(scores, kept, strict=True)):
        count = int(mask.sum())
        if 2 * (count - 1) <= len(values):
            continue
        below = np.where(mask, values[mask].mean() - values, -np.inf) / np.sqrt(1 - 1 / count)
        place = int(below.argmax())
        if below[place] > largest:
            found, largest = (row, place), float(below[place])
    return found
