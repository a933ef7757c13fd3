"""Which rows no other one beats in cost and accuracy, and how sure that is."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from .estimates import Estimates
from .pairs import bounds_of_pairs
from .verdict import LEVEL


class Membership(StrEnum):
    certainly = "certainly on the front"
    possibly = "possibly on the front"
    not_on_it = "not on the front"


def front(costs: Sequence[float], estimates: Estimates, level: float = LEVEL) -> list[Membership]:
    """For each row, by rising cost. Costs are counted, hence certain; less is better.

    A row is not on the front if one that costs no more is shown to be more accurate, and certainly on it if it is shown
    to be more accurate than all that cost no more. With probability `level` no statement of this kind is wrong. Where
    nothing is known of the error, the cheapest is on the front and the others may be.
    """
    rows = len(costs)
    cost = np.asarray(costs, dtype=np.float64)
    low = np.full((rows, rows), -np.inf)
    if rows > 1 and estimates.known:
        low, _ = bounds_of_pairs(estimates, level)
    found = []
    for row in range(rows):
        rivals = [other for other in range(rows) if other != row and cost[other] <= cost[row]]
        if any(low[other, row] > 0 for other in rivals):
            found.append(Membership.not_on_it)
        elif all(low[row, other] > 0 for other in rivals):
            found.append(Membership.certainly)
        else:
            found.append(Membership.possibly)
    return found
