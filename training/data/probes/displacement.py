"""Displacement: in which direction has the second patch moved against the first?"""

from typing import Literal

import numpy as np

from .probe import APART, CELL, GREY, Probe, register

SIDE = 8
CONTRAST = 100
DIRECTIONS = np.array([[0, -1], [0, 1], [-1, 0], [1, 0]])
LEAST = SIDE + APART
"""So that patch and copy stay 8 pixels apart wherever the copy moves."""


@register("displacement")
class Displacement(Probe):
    """A patch of random pixels and, `distance` pixels to its right, a copy that is moved to the left, right, up or
    down. The class is the direction.

    Isolates: comparing places precisely, finer than the grid of tokens. Each patch is drawn anew, so that none can be
    learned by heart, and each of its copies alone is pure noise. Chance: 1 / classes.
    Should solve it: mixers that look at places which depend on the content (DCNv3), and with more effort all that
    compare what lies at a fixed distance. Should not: identity, pooling, global attention without a position embedding.
    Source: block matching, as optical flow is probed; the question is what DCNv3 (arXiv:2211.05778) is built for.

    Args:
        distance: from patch to copy before it is moved, in pixels.
        shift: by how many pixels it is moved.
        seed: of the draws.
    """

    most_classes = 4

    def __init__(self, size: int, classes: int, *, distance: int, shift: int, seed: int) -> None:
        super().__init__(size, classes)
        room = self.size - SIDE + 1 - CELL
        self.check_number("shift", shift, least=1, largest=min(CELL, room // 2, room - LEAST))
        self.check_distance("distance", distance, least=LEAST, largest=room - shift)
        self.distance = distance
        self.shift = shift

    def draw(self, labels: np.ndarray, rng: np.random.Generator, split: Literal["train", "validation"]) -> np.ndarray:
        count = len(labels)
        texture = rng.integers(2, size=(count, SIDE, SIDE)) * 2 - 1
        # A multiple of CELL of places, so that how the copy lies on the grid of cells does not tell where it has moved.
        rows = (self.size - SIDE - 2 * self.shift + 1) // CELL * CELL
        columns = (self.size - SIDE - self.distance - self.shift + 1) // CELL * CELL
        row, column = self.shift + rng.integers(rows, size=count), rng.integers(columns, size=count)
        moved = self.shift * DIRECTIONS[labels]
        images = np.zeros((count, self.size, self.size), dtype=np.int16)
        inside = np.arange(SIDE)
        for rows, columns in ((row, column), (row + moved[:, 0], column + self.distance + moved[:, 1])):
            index = np.ix_(np.arange(count), inside, inside)
            images[index[0], rows[:, None, None] + index[1], columns[:, None, None] + index[2]] = texture
        return (GREY + CONTRAST * images).astype(np.uint8)[:, None]
