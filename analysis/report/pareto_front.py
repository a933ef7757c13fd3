"""Which of some networks no other one beats in both cost and accuracy."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]], less_is_better: bool) -> list[int]:
    """Indices of the points (cost or speed, accuracy) that no other point dominates, by rising cost or speed.

    A point is dominated by one that is at least as good in both and better in one.

    Args:
        less_is_better: of the first number; more is always better for the second.
    """
    sign = 1 if less_is_better else -1
    front: list[int] = []
    best = float("-inf")
    for index in sorted(range(len(points)), key=lambda index: (sign * points[index][0], -points[index][1])):
        cost, accuracy = points[index]
        equal_to_last = bool(front) and points[front[-1]] == (cost, accuracy)
        if accuracy > best or equal_to_last:
            front.append(index)
            best = accuracy
    return front if less_is_better else front[::-1]
