"""How many times as fast one of two is that took turns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import quantile_test

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Ratio:
    """A speed as a multiple of another, with the limits of its confidence interval (None: fewer than six turns)."""

    value: float
    low: float | None
    high: float | None


def speedup(latencies: Sequence[float], of_reference: Sequence[float]) -> Ratio:
    """Median over turns of reference / latency, both of the same turn, so that what slows down both cancels.

    The interval is the one of the sign test: order statistics of the turns' ratios that enclose their median with at
    least 95 % probability, whatever their distribution.
    """
    ratios = np.divide(of_reference, latencies)
    low, high = quantile_test(ratios, p=0.5).confidence_interval(CONFIDENCE)
    if np.isnan(low) or np.isnan(high):  # even all turns together do not enclose the median as often as that
        return Ratio(float(np.median(ratios)), None, None)
    return Ratio(float(np.median(ratios)), float(low), float(high))
