"""Contour: are the two markers on the same curve?"""

from typing import Literal

import numpy as np

from .probe import CELL, GREY, Probe, register

DASH, PERIOD = 3, 4
LINE, MARKER = 70, 120
SPACING = 12


@register("contour")
class Contour(Probe):
    """Dashed curves run from left to right and cross; one left end and one right end are marked. Class 1: they are ends
    of the same curve, class 0: of two.

    Isolates: following something from neighbour to neighbour. Which ends are marked, and how the curves run, are each
    equally frequent in both classes; only following tells. Chance: 50 %.
    Should solve it: mixers with weights by direction in enough blocks, each a few pixels further. Should not: identity,
    pooling; a global attention that cannot tell which dash continues which.
    Source: Pathfinder of Linsley et al., arXiv:1805.08315, and Long Range Arena, Tay et al., arXiv:2011.04006. Here
    curves run one way and cross smoothly, so that the distance between the markers says nothing.

    Args:
        curves: how many there are.
        seed: of the draws.
    """

    most_classes = 2

    def __init__(self, size: int, classes: int, *, curves: int, seed: int) -> None:
        super().__init__(size, classes)
        self.check_number("curves", curves, least=2, largest=self.size // SPACING)
        self.curves = curves

    def draw(self, labels: np.ndarray, rng: np.random.Generator, split: Literal["train", "validation"]) -> np.ndarray:
        count, size = len(labels), self.size
        heights = self.heights(rng, count)
        x = np.arange(size)
        slope = np.gradient(heights, axis=2)
        # Distance in rows, times the cosine of the slope, is about the distance from the curve.
        away = (np.arange(size)[:, None] - heights[:, :, None]) / np.sqrt(1 + slope[:, :, None] ** 2)
        phase = rng.integers(PERIOD, size=(count, self.curves))[:, :, None, None]
        dashes = (x + phase) % PERIOD < DASH
        ink = (np.clip(1.2 - np.abs(away), 0, 1) * dashes).max(1)
        polarity = rng.choice([-1, 1], size=(count, 1, 1))
        image = polarity * LINE * ink
        left = rng.integers(self.curves, size=count)
        step = rng.integers(1, self.curves, size=count)
        right = np.where(labels == 1, left, (left + step) % self.curves)
        each = np.arange(count)
        for curve, column in ((left, 0), (right, self.size - CELL)):
            middle = heights[each, curve, column + CELL // 2]
            near = np.abs(np.arange(size) - middle[:, None]) <= CELL / 2
            image[:, :, column : column + CELL] = np.where(
                near[:, :, None], polarity * MARKER, image[:, :, column : column + CELL]
            )
        return (GREY + image).astype(np.uint8)[:, None]

    def heights(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Row of each curve in each column: float N, K, W. From one slot to another, each way equally often."""
        slots = (np.arange(self.curves) + 0.5) * self.size / self.curves
        ends = np.argsort(rng.random((count, self.curves)), axis=1)
        starts = np.broadcast_to(np.arange(self.curves), ends.shape)
        x = (np.arange(self.size) - self.size / 6) / (self.size * 2 / 3)
        progress = np.clip(x, 0, 1)
        progress = progress * progress * (3 - 2 * progress)
        straight = slots[starts][:, :, None] + (slots[ends] - slots[starts])[:, :, None] * progress
        wave = rng.uniform(-1, 1, size=(count, 1, 1)) * np.sin(
            2
            * np.pi
            * (np.arange(self.size) / self.size * rng.uniform(0.5, 1.5, (count, 1, 1)) + rng.random((count, 1, 1)))
        )
        return straight + self.size / self.curves / 4 * wave
