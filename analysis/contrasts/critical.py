"""How many standard errors a difference must have, when several are looked at together."""

from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.stats import multivariate_t, studentized_range, t

MOST_FREEDOM = 1000  # from here on t is normal to three digits
CORRELATION_STEP = 0.05
MOST_COMPARISONS = 50  # of more, Bonferroni's value is hardly larger, and the exact one takes long


def of_largest(comparisons: int, freedom: float, correlation: float, level: float) -> float:
    """c such that the largest of `comparisons` studentised differences stays below c with probability `level`.

    That is Dunnett's one-sided critical value (1955, JASA 50) for differences of equal `correlation`.
    Where correlations differ, the smallest of them gives a value that is never too small (Slepian's inequality); where
    it is negative, or there are very many, Bonferroni's value serves. `freedom` and `correlation` are rounded to that
    side, too.

    Args:
        freedom: degrees of freedom of the common standard error.
    """
    whole = _round_down(freedom)
    if comparisons == 1:
        return float(t.ppf(level, whole))
    if correlation < 0 or comparisons > MOST_COMPARISONS:
        return float(t.ppf(1 - (1 - level) / comparisons, whole))
    steps = int(correlation / CORRELATION_STEP + 1e-9)
    return _equicorrelated(comparisons, whole, min(steps * CORRELATION_STEP, 1 - CORRELATION_STEP), level)


def of_range(rows: int, freedom: float, level: float) -> float:
    """c such that all differences between `rows` means stay below c standard errors with probability `level`.

    That is Tukey's value for pairs; where rows have unequal numbers of seeds it is too large rather than too small
    (Hayter 1984, Annals of Statistics 12).
    """
    whole = _round_down(freedom)
    if rows > MOST_COMPARISONS:
        return float(t.ppf(1 - (1 - level) / (rows * (rows - 1)), whole))
    return _range(rows, whole, level)


def _round_down(freedom: float) -> int:
    """Whole numbers up to 30, then ever wider steps: few different values have to be computed."""
    if freedom < 1:
        raise ValueError(f"freedom={freedom}: a standard error needs at least one degree of freedom")
    if freedom <= 30:
        return int(freedom + 1e-9)
    return min(int(30 * 1.25 ** int(np.log(freedom / 30) / np.log(1.25) + 1e-9)), MOST_FREEDOM)


@cache
def _equicorrelated(comparisons: int, freedom: int, correlation: float, level: float) -> float:
    shape = np.full((comparisons, comparisons), correlation) + (1 - correlation) * np.eye(comparisons)

    def excess(value: float) -> float:
        # The integral is found by random points; the same ones for every value make it a smooth function of it.
        limits = np.full(comparisons, value)
        return float(multivariate_t.cdf(limits, shape=shape, df=freedom, random_state=0)) - level

    # Between the value of one comparison and Bonferroni's.
    lowest, highest = t.ppf(level, freedom), t.ppf(1 - (1 - level) / comparisons, freedom)
    return float(brentq(excess, 0.98 * lowest, 1.02 * highest, xtol=1e-3))


@cache
def _range(rows: int, freedom: int, level: float) -> float:
    return float(studentized_range.ppf(level, rows, freedom)) / np.sqrt(2)
