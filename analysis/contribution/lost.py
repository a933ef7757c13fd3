"""What accuracy a network loses, image by image."""

from dataclasses import dataclass

import numpy as np

WIDE = 1.959963984540054
"""Quantile of the normal distribution that leaves 95 % between itself and its negative."""


@dataclass(frozen=True)
class Lost:
    """Percentage points, with the 95 % interval over the test set's images."""

    points: float
    low: float
    high: float


def lost_points(before: np.ndarray, after: np.ndarray) -> Lost:
    """How many of the same images (N, bool) are right before, and not after.

    The interval is that of a mean of paired differences, so what both answer alike adds no scatter.
    """
    differences = 100 * (before.astype(float) - after.astype(float))
    half = WIDE * float(differences.std(ddof=1)) / len(differences) ** 0.5 if len(differences) > 1 else float("inf")
    mean = float(differences.mean())
    return Lost(mean, mean - half, mean + half)
