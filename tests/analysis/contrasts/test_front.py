"""What is certainly, possibly and certainly not on a Pareto front."""

import numpy as np

from analysis.contrasts import front
from analysis.contrasts.estimates import estimates

STEADY = np.array([-0.1, 0.0, 0.1])


def test_a_front_is_as_sure_as_the_differences():
    rows = [70 + STEADY, 80 + STEADY, 80.05 + STEADY, 75 + STEADY, 90 + STEADY]
    assert front([1, 2, 3, 4, 5], estimates(rows)) == [
        "certainly on the front",  # nothing costs as little
        "certainly on the front",
        "possibly on the front",  # dearer than the second, and not shown to be better
        "not on the front",
        "certainly on the front",
    ]


def test_of_two_that_cost_the_same_the_worse_is_not_on_it():
    assert front([1, 1], estimates([70 + STEADY, 80 + STEADY])) == ["not on the front", "certainly on the front"]


def test_where_the_spread_is_not_known_only_the_cheapest_is_sure():
    assert front([2, 1], estimates([np.array([80.0]), np.array([70.0])])) == [
        "possibly on the front",
        "certainly on the front",
    ]
    assert front([7], estimates([np.array([80.0])])) == ["certainly on the front"]
