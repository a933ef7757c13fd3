"""Matching: are the two marked glyphs the same?"""

from typing import Literal

import numpy as np

from .glyphs import choose_cells, draw_glyphs, paint, plain_and_marked
from .probe import APART, CELL, Probe, register

GLYPHS = 15


@register("matching")
class Matching(Probe):
    """Class 1: the two coloured glyphs are the same, class 0: they are not. Grey ones are clutter.

    Isolates: reach, and comparing what is far apart by its content. Each glyph is as frequent in both classes, at each
    place; only the pair tells. Chance: 50 %.
    Should solve it: attention (a query finds its like, wherever it is), and convolutions and windows whose blocks
    together reach over `distance`. Should not: identity, ever; anything at a distance that its blocks do not reach.
    Source: same-different judgements, as Kim et al., arXiv:1802.03390, review them for networks.

    Args:
        distance: between the two, the larger of rows and columns, in pixels.
        clutter: number of grey glyphs.
        glyphs: how many different ones there are.
        seed: of the draws.
    """

    channels = 3
    most_classes = 2

    def __init__(self, size: int, classes: int, *, distance: int, clutter: int, glyphs: int, seed: int) -> None:
        super().__init__(size, classes)
        self.check_distance("distance", distance, least=APART, largest=self.size - CELL)
        self.check_number("clutter", clutter, least=0, largest=self.cells**2 - 2)
        self.check_number("glyphs", glyphs, least=2, largest=GLYPHS)
        self.clutter = clutter
        self.bank = draw_glyphs(glyphs)
        rows, columns = np.divmod(np.arange(self.cells**2), self.cells)
        between = np.maximum(abs(rows[:, None] - rows), abs(columns[:, None] - columns))
        self.pairs = np.argwhere(between == distance // CELL)

    def draw(self, labels: np.ndarray, rng: np.random.Generator, split: Literal["train", "validation"]) -> np.ndarray:
        count, places = len(labels), self.cells**2
        glyphs = len(self.bank)
        first = rng.integers(glyphs, size=count)
        other = (first + rng.integers(1, glyphs, size=count)) % glyphs
        pair = self.pairs[rng.integers(len(self.pairs), size=count)]
        cells = np.zeros((count, places), dtype=np.int64)
        image = np.arange(count)[:, None]
        # Clutter is drawn for all cells and the pair put over it, so one or two of it may be hidden: draw two more.
        order = choose_cells(rng, count, places, min(self.clutter + 2, places))
        free = (order[:, :, None] != pair[:, None, :]).all(2)
        free &= free.cumsum(1) <= self.clutter
        cells[image, order] = np.where(free, rng.integers(1, glyphs + 1, size=order.shape), 0)
        cells[image, pair] = np.stack([first, np.where(labels == 1, first, other)], 1) + 1 + glyphs
        return paint(cells.reshape(count, self.cells, self.cells), plain_and_marked(self.bank))
