"""Power laws through costs, where two of them cross, and what fits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95


@dataclass(frozen=True)
class Growth:
    """cost ≈ factor · size ^ exponent, by least squares of the logarithms.

    `low` and `high` are the 95 % interval of the exponent by the scatter around the line; counts do not scatter, so of
    these it says how far they are from a power law. None where two sizes leave no scatter.
    """

    exponent: float
    low: float | None
    high: float | None


def growth(sizes: Sequence[float], costs: Sequence[float]) -> Growth | None:
    """None where there are fewer than two different sizes."""
    x, y = np.log(np.asarray(sizes, dtype=float)), np.log(np.asarray(costs, dtype=float))
    if len(set(sizes)) < 2:
        return None
    centred = x - x.mean()
    exponent = float(centred @ y / (centred @ centred))
    freedom = len(x) - 2
    if freedom < 1:
        return Growth(exponent, None, None)
    residuals = y - y.mean() - exponent * centred
    half = float(stdtrit(freedom, 0.5 + LEVEL / 2)) * math.sqrt(residuals @ residuals / freedom / (centred @ centred))
    return Growth(exponent, exponent - half, exponent + half)


def crossings(sizes: Sequence[float], one: Sequence[float], other: Sequence[float]) -> list[tuple[float, float]]:
    """Sizes at which two costs at the same `sizes`, in ascending order, are equal, with the cost there.

    Between two sizes both are taken to be power laws.
    """
    x, difference = np.log(sizes), np.log(one) - np.log(other)
    found = []
    for place in range(len(x) - 1):
        before, after = difference[place], difference[place + 1]
        if before * after < 0:
            share = before / (before - after)
            level = (1 - share) * np.log(one[place]) + share * np.log(one[place + 1])
            found.append((float(np.exp((1 - share) * x[place] + share * x[place + 1])), float(np.exp(level))))
    return found


def largest_within(sizes: Sequence[float], costs: Sequence[float], most: float) -> float | None:
    """The largest size, between those in ascending order, whose cost is `most`: power laws in between.

    None where even the smallest costs more, or the largest does not reach `most`: nobody has tried.
    """
    if costs[0] > most or costs[-1] < most:
        return None
    return float(np.exp(np.interp(math.log(most), np.log(costs), np.log(sizes))))
