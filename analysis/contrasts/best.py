"""Each row against the best of the others."""

import numpy as np

from .estimates import Estimates
from .pairs import bounds_of_pairs


def bounds_to_best(estimates: Estimates, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Difference of each row's mean to the best one of the others, and its lower and upper bounds, each (rows).

    With probability `level` all bounds hold together: they follow from those of all pairs, since the distance to the
    best of the others is the least of the distances to each. Hsu's narrower bounds (1984, Annals of Statistics 12) are
    of another statement: a row whose bound reaches 0 there is not alone at the top. Of ten equal rows that is true of
    each, and it is said of one in every fourth table; here, "worse" means worse. Rows: two or more.
    """
    others = ~np.eye(len(estimates.means), dtype=bool)
    differences = estimates.means[:, None] - estimates.means[None, :]
    low, high = bounds_of_pairs(estimates, level)
    least = (np.where(others, table, np.inf).min(1) for table in (differences, low, high))
    return tuple(least)
