"""Retrieval: which glyph stands beside the one that is asked for?"""

from typing import Literal

import numpy as np

from .glyphs import choose_cells, draw_glyphs, paint, plain_and_marked
from .probe import CELL, Probe, register

KEYS = 11
VALUES = 4


@register("retrieval")
class Retrieval(Probe):
    """Pairs of a key and, to its right, a value are spread over the image; one key comes again, coloured. The class is
    the value beside that key.

    Isolates: addressing by content, associative recall in two dimensions. All values are equally frequent in an image,
    and so is every pair of a key and a value in every class; only the coloured key tells which pair counts.
    Chance: 1 / classes.
    Should solve it: global attention, and local attention as far as it reaches; with key and value further apart than
    a patch (`gap`), only mixers that also know in which direction something lies. Convolutions must carry every pair
    everywhere, the harder the more there are. Should not: identity, ever.
    Source: associative recall of Arora et al., arXiv:2312.04927 (zoology), and MAD, Poli et al., arXiv:2403.17844.

    Args:
        pairs: how many there are; a multiple of the number of classes, so that no value is more frequent.
        gap: from a key to its value, in pixels; 4 is side by side.
        seed: of the draws.
    """

    channels = 3
    most_classes = VALUES

    def __init__(self, size: int, classes: int, *, pairs: int, gap: int, seed: int) -> None:
        super().__init__(size, classes)
        self.check_distance("gap", gap, least=CELL, largest=self.size - CELL)
        self.gap = gap // CELL
        self.width = self.gap + 1
        self.slots = self.cells * (self.cells // self.width)
        largest = min((self.slots - 1) // classes * classes, KEYS // classes * classes)
        self.check_number("pairs", pairs, least=classes, largest=largest)
        if pairs % classes:
            raise ValueError(f"data.options.pairs={pairs}: must be a multiple of data.num_classes={classes}")
        self.pairs = pairs

    def draw(self, labels: np.ndarray, rng: np.random.Generator, split: Literal["train", "validation"]) -> np.ndarray:
        count = len(labels)
        keys = choose_cells(rng, count, KEYS, self.pairs)
        # The first pair is asked for: its value is the label, the rest makes all values equally frequent.
        order = choose_cells(rng, count, self.pairs, self.pairs) % self.classes
        values = (order - order[:, :1] + labels[:, None]) % self.classes
        slots = choose_cells(rng, count, self.slots, self.pairs + 1)
        rows, columns = np.divmod(slots, self.cells // self.width)
        columns = columns * self.width
        cells = np.zeros((count, self.cells, self.cells), dtype=np.int64)
        image = np.arange(count)[:, None]
        cells[image, rows[:, 1:], columns[:, 1:]] = 1 + keys
        cells[image, rows[:, 1:], columns[:, 1:] + self.gap] = 1 + KEYS + values
        cells[image[:, 0], rows[:, 0], columns[:, 0]] = 1 + KEYS + VALUES + keys[:, 0]
        return paint(cells, plain_and_marked(draw_glyphs(KEYS + VALUES)))
