"""Counting: how many pairs lie side by side, among pairs that stand one above the other?"""

from typing import Literal

import numpy as np

from .glyphs import both_polarities, choose_cells, draw_glyphs, paint
from .probe import APART, CELL, Probe, register

REACH = APART // CELL
PITCH = REACH + APART // CELL
"""From one pair to the next, in cells: parts of two pairs are as far apart as the parts of one."""


@register("counting")
class Counting(Probe):
    """Pairs of the same two glyphs, side by side or one above the other; the class is how many lie side by side.

    Isolates: seeing an object that is larger than a patch, and adding up over the image. All pairs are made of the same
    parts at the same distance, so that parts alone say nothing, and each pair is bright or dark at random. Chance:
    1 / classes.
    Should solve it: mixers whose weights depend on the direction, with a reach of three cells; the sum is made by the
    classifier's pooling. Should not: identity, pooling and global attention without a position embedding (the two
    kinds of pairs are the same set of patches).
    Source: counting as in CLEVR (Johnson et al., arXiv:1612.06890), with objects that only their shape tells apart.

    Args:
        objects: number of pairs of both kinds; one less than the number of classes, or more.
        seed: of the draws.
    """

    def __init__(self, size: int, classes: int, *, objects: int, seed: int) -> None:
        super().__init__(size, classes)
        self.squares = (self.cells + PITCH - REACH - 1) // PITCH
        self.slack = self.cells - (self.squares - 1) * PITCH - REACH - 1
        self.check_number("objects", objects, least=classes - 1, largest=self.squares**2)
        self.objects = objects

    def draw(self, labels: np.ndarray, rng: np.random.Generator, split: Literal["train", "validation"]) -> np.ndarray:
        count = len(labels)
        rows, columns = np.divmod(choose_cells(rng, count, self.squares**2, self.objects), self.squares)
        start = rng.integers(self.slack + 1, size=(2, count, 1))
        rows, columns = start[0] + rows * PITCH, start[1] + columns * PITCH
        lies = np.arange(self.objects) < labels[:, None]
        polarity = 2 * rng.integers(2, size=lies.shape)
        cells = np.zeros((count, self.cells, self.cells), dtype=np.int64)
        image = np.arange(count)[:, None]
        cells[image, rows, columns] = 1 + polarity
        cells[image, np.where(lies, rows, rows + REACH), np.where(lies, columns + REACH, columns)] = 2 + polarity
        return paint(cells, both_polarities(draw_glyphs(2)))
