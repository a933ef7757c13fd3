"""Relation: which of two glyphs is further left?"""

from typing import Literal

import numpy as np

from .glyphs import both_polarities, clutter, draw_glyphs, paint
from .probe import APART, CELL, Probe, register

GLYPHS = 8
NEAR = APART // CELL - 1
"""In cells: what lies nearer to a glyph is in one patch with it."""
KEPT_FREE = (2 * NEAR + 1) ** 2


@register("relation")
class Relation(Probe):
    """One glyph A and one glyph B, anywhere. Class 1: A is further left, class 0: further right. Others are clutter.

    Isolates: position, in which direction something else lies. Both glyphs are equally frequent at each place whatever
    the class, and each is bright or dark at random, so that no sum over pixels tells. Chance: 50 %.
    Should solve it: mixers whose weights depend on where a neighbour lies (convolutions, windows with relative
    positions, DCNv3, reductions by strided convolution), within their reach. Should not: identity, pooling (its weights
    are the same in all directions) and global attention without a position embedding, except for the little that
    zero padding tells near the image's border.
    Source: spatial relations as in CLEVR (Johnson et al., arXiv:1612.06890), reduced to one.

    Args:
        distance: between the columns of the two, in pixels; rows are drawn freely.
        clutter: number of other glyphs. None is near the two, or what stands beside a glyph at the image's edge, always
            on its inner side, would tell the class.
        seed: of the draws.
    """

    most_classes = 2

    def __init__(self, size: int, classes: int, *, distance: int, clutter: int, seed: int) -> None:
        super().__init__(size, classes)
        self.check_distance("distance", distance, least=APART, largest=self.size - CELL)
        self.check_number("clutter", clutter, least=0, largest=max(self.cells**2 - 2 * KEPT_FREE, 0))
        self.distance = distance // CELL
        self.others = clutter

    def draw(self, labels: np.ndarray, rng: np.random.Generator, split: Literal["train", "validation"]) -> np.ndarray:
        count, places = len(labels), self.cells**2
        left = rng.integers(self.cells - self.distance, size=count)
        columns = np.stack([left, left + self.distance], 1)
        columns = np.where(labels[:, None] == 1, columns, columns[:, ::-1])
        pair = rng.integers(self.cells, size=(count, 2)) * self.cells + columns
        cells = np.zeros((count, places), dtype=np.int64)
        image = np.arange(count)[:, None]
        others = clutter(rng, pair, self.cells, self.others, near=NEAR)
        cells[others] = rng.integers(3, GLYPHS + 1, size=others.sum())
        cells[image, pair] = [1, 2]
        cells += np.where(cells > 0, GLYPHS * rng.integers(2, size=cells.shape), 0)
        return paint(cells.reshape(count, self.cells, self.cells), both_polarities(draw_glyphs(GLYPHS)))
