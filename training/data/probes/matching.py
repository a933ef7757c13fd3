"""Matching: are glyphs that stand at a distance from each other the same?"""

from typing import Literal

import numpy as np

from .glyphs import clutter, draw_glyphs, paint
from .probe import APART, CELL, Probe, register

GLYPHS = 8


@register("matching")
class Matching(Probe):
    """Two pairs of glyphs, each pair in a row, its glyphs `distance` pixels apart. Class 1: A beside A and B beside B,
    class 0: A beside B and B beside A. Others are clutter.

    Isolates: reach, and comparing what is far apart. The same glyphs are there in both classes, A and B two times each;
    only who is whose partner tells. With one pair alone, two equal glyphs would be twice as much of one patch, which a
    sum over patches notices. Chance: 50 %.
    Should solve it: mixers that see `distance` pixels far, in one block or in several, and in which direction they look
    (convolutions, windows with relative positions, DCNv3). Should not: identity, ever; global attention without a
    position embedding, to which an image is a set of patches; anything at a distance that its blocks do not reach.
    Source: same-different judgements, as Kim et al., arXiv:1802.03390, review them for networks.

    Args:
        distance: between partners, in pixels.
        clutter: number of other glyphs.
        glyphs: how many different ones there are for A and B.
        seed: of the draws.
    """

    most_classes = 2

    def __init__(self, size: int, classes: int, *, distance: int, clutter: int, glyphs: int, seed: int) -> None:
        super().__init__(size, classes)
        self.check_distance("distance", distance, least=APART, largest=self.size - CELL)
        self.check_number("clutter", clutter, least=0, largest=self.cells**2 - 4)
        self.check_number("glyphs", glyphs, least=2, largest=GLYPHS)
        self.distance = distance // CELL
        self.others = clutter
        self.bank = draw_glyphs(GLYPHS + 4)
        self.glyphs = glyphs
        rows = np.arange(self.cells)
        # Far enough from each other for no patch to see both pairs.
        self.rows = np.argwhere(abs(rows[:, None] - rows) >= APART // CELL)

    def draw(self, labels: np.ndarray, rng: np.random.Generator, split: Literal["train", "validation"]) -> np.ndarray:
        count = len(labels)
        row = self.rows[rng.integers(len(self.rows), size=count)]
        left = rng.integers(self.cells - self.distance, size=(count, 2))
        places = row[:, :, None] * self.cells + np.stack([left, left + self.distance], 2)  # image, pair, partner
        first = rng.integers(self.glyphs, size=count)
        other = (first + rng.integers(1, self.glyphs, size=count)) % self.glyphs
        pairs = np.stack([first, other], 1)
        partners = np.where(labels[:, None] == 1, pairs, pairs[:, ::-1])
        cells = np.zeros((count, self.cells**2), dtype=np.int64)
        image = np.arange(count)[:, None]
        others = clutter(rng, places.reshape(count, 4), self.cells, self.others)
        cells[others] = rng.integers(GLYPHS + 1, GLYPHS + 5, size=others.sum())
        cells[image, places.reshape(count, 4)] = 1 + np.stack([pairs, partners], 2).reshape(count, 4)
        return paint(cells.reshape(count, self.cells, self.cells), self.bank[:, None])
