"""Texture against shape: which of two cues that always agreed does a network believe when they disagree?"""

from typing import Literal

import numpy as np

from .probe import GREY, Probe, register

CONTRAST = 100
LEAST = 8  # of a square, and of the space between two: no 9 x 9 patch sees both sides of it


@register("texture")
class Texture(Probe):
    """Two striped squares, one above the other's left or right. In training the stripes' direction and the squares'
    arrangement both tell the class; in validation they disagree, and the label is the arrangement's.

    Isolates a bias, not an ability: what top-1 says is how often the outline wins against the local statistics. 0 % is
    a network that believes the texture, 100 % one that believes the shape; a network that cannot see the shape, like
    identity, must get 0 %.
    Should believe the shape: none has to; more so mixers with a wide reach.
    Source: Geirhos et al., arXiv:1811.12231, reduced to two textures and two shapes.

    Args:
        side: of the squares, in pixels.
        seed: of the draws.
    """

    most_classes = 2

    def __init__(self, size: int, classes: int, *, side: int, seed: int) -> None:
        super().__init__(size, classes)
        self.check_distance("side", side, least=LEAST, largest=(self.size - LEAST) // 2)
        self.side = side

    def draw(self, labels: np.ndarray, rng: np.random.Generator, split: Literal["train", "validation"]) -> np.ndarray:
        count, size, side = len(labels), self.size, self.side
        gap = LEAST
        extent = 2 * side + gap
        row, column = rng.integers(size - extent + 1, size=(2, count))
        phase = rng.integers(4, size=count)[:, None, None]
        y, x = np.arange(size)[:, None], np.arange(size)
        stripes = labels if split == "train" else 1 - labels
        along = np.where(stripes[:, None, None] == 1, y + x, y - x)
        pattern = np.where((along + phase) % 4 < 2, 1, -1)
        inside = np.zeros((count, size, size), dtype=bool)
        for place in (0, 1):
            top = row + place * (side + gap)
            left = column + np.where(labels == place, 0, side + gap)
            inside |= _square(y, x, top, left, side)
        return (GREY + CONTRAST * np.where(inside, pattern, 0)).astype(np.uint8)[:, None]


def _square(y: np.ndarray, x: np.ndarray, top: np.ndarray, left: np.ndarray, side: int) -> np.ndarray:
    """bool N, H, W."""
    rows, columns = y - top[:, None, None], x - left[:, None, None]
    return (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
