"""Every row against every other, all at once."""

import numpy as np

from .critical import of_range
from .estimates import Estimates


def bounds_of_pairs(estimates: Estimates, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds (rows, rows) of row minus column; with probability `level` all hold together.

    Tukey's comparison of all pairs, with Kramer's standard errors for each pair.
    """
    rows = len(estimates.means)
    freedom = estimates.freedoms()[~np.eye(rows, dtype=bool)].min()
    differences = estimates.means[:, None] - estimates.means[None, :]
    allowance = of_range(rows, freedom, level) * estimates.errors()
    np.fill_diagonal(allowance, 0)
    return differences - allowance, differences + allowance
