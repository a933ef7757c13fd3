"""How many seeds, or images, it would take."""

import math
from functools import cache

from scipy.stats import t

from .critical import MOST_FREEDOM, of_range
from .verdict import LEVEL, Needed

POWER = 0.8
MOST = 1000  # seeds


def needed(
    rows: int, seeds_variance: float, images_variance: float, images: int, margin: float, level: float = LEVEL
) -> Needed:
    """What shows a difference of `margin` between two of `rows` rows with probability POWER.

    Args:
        seeds_variance: of one seed, pooled.
        images_variance: of the difference of two rows, with `images` images; 0 where it is not known.
    """
    seeds = _seeds(rows, seeds_variance, images_variance, margin, level)
    if seeds is not None or images_variance == 0:
        return Needed(seeds)
    # Half of what the error may be goes to the images, the other half to the seeds.
    allowed = (margin / _standard_errors(rows, MOST_FREEDOM, level)) ** 2 / 2
    more_images = math.ceil(images * images_variance / allowed)
    return Needed(_seeds(rows, seeds_variance, allowed, margin, level), more_images)


def _seeds(rows: int, seeds_variance: float, images_variance: float, margin: float, level: float) -> int | None:
    def shown(seeds: int) -> bool:
        error = math.sqrt(2 * seeds_variance / seeds + images_variance)
        return _standard_errors(rows, rows * (seeds - 1), level) * error <= margin

    if not shown(MOST):
        return None
    low, high = 1, MOST  # not enough (one seed has no spread), enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high


@cache
def _standard_errors(rows: int, freedom: int, level: float) -> float:
    """How many of them a difference must be to be shown with probability POWER."""
    return of_range(rows, freedom, level) + float(t.ppf(POWER, freedom))
