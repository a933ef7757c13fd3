"""Glyphs: patterns of a cell's size with as many bright pixels as dark ones, so that colour tells nothing."""

import numpy as np

from .probe import CELL, GREY

CONTRAST = 100
EMPTY = 0
"""The number of an empty cell in a map of glyphs; the glyphs follow from 1 on."""


def draw_glyphs(count: int) -> np.ndarray:
    """The same `count` patterns of +1 and -1 each time: int8 count, CELL, CELL.

    There are 15 at most, rows of a Hadamard matrix: 8 of 16 pixels differ between any two, and their negatives.
    """
    hadamard = np.ones((1, 1), dtype=np.int8)
    while len(hadamard) < CELL * CELL:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    # Shuffled pixels: the matrix's own rows are stripes and checkerboards, which a stem sees with different ease.
    pixels = np.random.default_rng(0).permutation(CELL * CELL)
    return hadamard[1 : count + 1, pixels].reshape(-1, CELL, CELL)


def paint(cells: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """Images from maps of glyph numbers.

    Args:
        cells: int N, rows, columns; EMPTY or the number of a glyph.
        bank: int8 or int16 glyphs, C, CELL, CELL: values around 0; number 1 is the first.

    Returns: uint8 N, C, H, W.
    """
    empty = np.zeros((1, *bank.shape[1:]))
    patterns = (GREY + CONTRAST * np.concatenate([empty, bank])).astype(np.uint8)
    images = patterns[cells].transpose(0, 3, 1, 4, 2, 5)  # N, C, rows, CELL, columns, CELL
    count, channels, rows, _, columns, _ = images.shape
    return images.reshape(count, channels, rows * CELL, columns * CELL)


def plain_and_marked(bank: np.ndarray) -> np.ndarray:
    """A bank N, CELL, CELL as 2 N coloured glyphs 2 N, 3, CELL, CELL: black on white, then the same blue on yellow."""
    plain = np.repeat(bank[:, None], 3, axis=1)
    marked = plain * np.array([1, 1, -1], dtype=bank.dtype)[:, None, None]
    return np.concatenate([plain, marked])


def both_polarities(bank: np.ndarray) -> np.ndarray:
    """A bank N, CELL, CELL as 2 N grey glyphs 2 N, 1, CELL, CELL: as they are, then bright for dark."""
    return np.concatenate([bank, -bank])[:, None]


def choose_cells(rng: np.random.Generator, images: int, among: int, chosen: int) -> np.ndarray:
    """For each image `chosen` different numbers below `among`, in random order: int images, chosen."""
    return rng.random((images, among)).argsort(axis=1)[:, :chosen]


def clutter(rng: np.random.Generator, taken: np.ndarray, cells: int, chosen: int, near: int = 0) -> np.ndarray:
    """Where clutter goes: in each image `chosen` of `cells` x `cells` cells, none within `near` cells of those `taken`.

    Args:
        taken: int images, K; numbers of cells, row by row.

    Returns: bool images, cells x cells.
    """
    rows, columns = np.divmod(np.arange(cells**2), cells)
    away = np.maximum(abs(rows[taken][:, :, None] - rows), abs(columns[taken][:, :, None] - columns))
    order = rng.random((len(taken), cells**2))
    order[(away <= near).any(1)] = 1  # after all others
    return order.argsort(1).argsort(1) < chosen
