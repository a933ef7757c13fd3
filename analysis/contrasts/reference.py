"""Each row against one that was chosen beforehand."""

import numpy as np

from .critical import of_largest
from .estimates import Estimates


def bounds_to_reference(
    estimates: Estimates, reference: int, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Difference of each row's mean to that of row `reference`, and its lower and upper bounds, each (rows).

    Dunnett's two-sided comparison with a control: with probability `level` all bounds hold together. Both tails get
    half of the error, which is exact but for tables in which both are left at once. The reference's own entries are 0.
    """
    rows = len(estimates.means)
    freedom = np.delete(estimates.freedoms()[reference], reference).min()
    critical = of_largest(rows - 1, freedom, estimates.least_correlation(reference), 1 - (1 - level) / 2)
    differences = estimates.means - estimates.means[reference]
    allowance = critical * estimates.errors()[:, reference]
    allowance[reference] = 0
    return differences, differences - allowance, differences + allowance
