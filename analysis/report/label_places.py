"""Where to put the names beside the marks of a scatter plot, so that they can be read."""

from collections.abc import Sequence
from dataclasses import dataclass

CHARACTER_WIDTH = 6.3  # pixels, of the 11-pixel type that the names are set in
HEIGHT = 12.0
GAP = 9.0  # from the centre of a mark to its name
DISTANCE_COST = 4.0  # one pixel further from the mark is as bad as covering so many square pixels
MARK = 6.0  # half the side of the square that a mark takes


@dataclass(frozen=True)
class Place:
    """Offset of a name's anchor from its mark in pixels, and which side of the name the anchor is at."""

    dx: float
    dy: float
    align: str
    distance: float  # beyond the nearest place on that side


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Box") -> float:
        """Area in common, in square pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    def outside(self, width: float, height: float) -> float:
        """How far it reaches out of a plot of this size, weighed like an overlap."""
        out = max(-self.left, 0.0) + max(self.right - width, 0.0) + max(-self.top, 0.0) + max(self.bottom - height, 0.0)
        return out * HEIGHT


PLACES = tuple(
    Place(dx, dy, align, distance)
    for distance in (0.0, 5.0, 10.0, 16.0)
    for dx, dy, align in (
        (GAP, distance, "left"),
        (GAP, -distance, "left"),
        (-GAP, distance, "right"),
        (-GAP, -distance, "right"),
        (0.0, -GAP - HEIGHT / 2 - distance, "center"),
        (0.0, GAP + HEIGHT / 2 + distance, "center"),
    )
)


def place_labels(
    names: Sequence[str],
    points: Sequence[tuple[float, float]],
    size: tuple[float, float],
    lines: Sequence[Box] = (),
) -> list[Place]:
    """A place for the name of each point (x to the right, y downwards, in pixels), one after the other.

    Each takes the place where it covers least and is near.

    Args:
        size: width and height of the plot.
        lines: what names should not cover besides marks and each other.
    """
    width, height = size
    taken = [*lines, *(Box(x - MARK, y - MARK, x + MARK, y + MARK) for x, y in points)]
    chosen = []
    for name, (x, y) in zip(names, points, strict=True):
        costs = []
        for place in PLACES:
            box = _box(name, x + place.dx, y + place.dy, place.align)
            covered = sum(box.overlap(other) for other in taken) + box.outside(width, height)
            costs.append(covered + DISTANCE_COST * place.distance)
        best = PLACES[costs.index(min(costs))]
        taken.append(_box(name, x + best.dx, y + best.dy, best.align))
        chosen.append(best)
    return chosen


def _box(name: str, x: float, y: float, align: str) -> Box:
    width = CHARACTER_WIDTH * len(name)
    left = x - {"left": 0.0, "center": width / 2, "right": width}[align]
    return Box(left, y - HEIGHT / 2, left + width, y + HEIGHT / 2)
