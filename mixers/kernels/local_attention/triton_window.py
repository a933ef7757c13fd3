# ruff: noqa: ANN001, ANN201, N803  (Triton's kernels have no types, and constants are upper case by its convention)
"""One head of one window in Triton: which pixels belong to it, how they are loaded, and what is added to their
scores.

Blocks and windows are cut by the map's border, so pixels are numbered row by row in what is left of them. Keys come in
tiles of that numbering, straight from maps of any strides; all places in memory are of 64 bits.
"""

import triton
import triton.language as tl


@triton.jit
def block_corner(number, grid):
    """Image, and first row and column, perhaps outside the map, of a block. `grid`: rows and columns of blocks in an
    image; first row and column of the first of them; pixels from one to the next."""
    lines, line, first_row, first_column, step = grid
    return number // (lines * line), first_row + number // line % lines * step, first_column + number % line * step


@triton.jit
def on_map(first, length, size):
    """The first of `length` pixels from `first` on that is on a map of this size, and how many of them are."""
    start = tl.maximum(first, 0)
    return start, tl.minimum(first + length, size) - start


@triton.jit
def pixels(number, row, column, rows, columns, COUNT: tl.constexpr):
    """Rows and columns of COUNT pixels of the rectangle at row, column, from `number` on, and whether they exist."""
    number += tl.arange(0, COUNT)
    return row + number // columns, column + number % columns, number < rows * columns


@triton.jit
def places(strides, image, head, row, column):
    """Where the first channels of pixels lie in memory, from the first of their map."""
    corner = image.to(tl.int64) * strides[0] + head.to(tl.int64) * strides[3]
    return corner + row.to(tl.int64) * strides[1] + column.to(tl.int64) * strides[2]


@triton.jit
def vectors(place, exists, WIDTH: tl.constexpr, CHANNELS: tl.constexpr):
    """Where CHANNELS channels of pixels lie, and whether they exist: WIDTH of them do."""
    channel = tl.arange(0, CHANNELS)[None, :]
    return place[:, None] + channel, exists[:, None] & (channel < WIDTH)


@triton.jit
def load(tensor, strides, image, head, row, column, exists, WIDTH: tl.constexpr, CHANNELS: tl.constexpr):
    """Pixels x channels, zeros where there are none."""
    place, mask = vectors(places(strides, image, head, row, column), exists, WIDTH, CHANNELS)
    return tl.load(tensor + place, mask=mask, other=0.0)


@triton.jit
def load_table(table, WINDOW: tl.constexpr, WIDTH: tl.constexpr, ENTRIES: tl.constexpr, CHANNELS: tl.constexpr):
    """Entries x channels of a relative table, zeros where there are none."""
    entry = tl.arange(0, ENTRIES)
    place, mask = vectors(entry * WIDTH, entry < 2 * WINDOW - 1, WIDTH, CHANNELS)
    return tl.load(table + place, mask=mask, other=0.0)


@triton.jit
def relative_logits(
    q, entries, of_query, WINDOW: tl.constexpr, ENTRIES: tl.constexpr, PLACES: tl.constexpr, PRECISION: tl.constexpr
):
    """Queries x places of keys in the window, along rows or columns: each query's product with the entry of the table
    for that place minus the query's own in the block, `of_query`, + WINDOW - 1."""
    products = tl.dot(q, tl.trans(entries), input_precision=PRECISION)
    entry = tl.arange(0, PLACES)[None, :] - of_query[:, None] + (WINDOW - 1)
    return tl.gather(products, tl.minimum(tl.maximum(entry, 0), ENTRIES - 1), 1)


@triton.jit
def ones_at(of_key, PLACES: tl.constexpr):
    """Places x keys: one at each key's place, so that a product with it picks what belongs to the key."""
    return tl.where(tl.arange(0, PLACES)[:, None] == of_key[None, :], 1.0, 0.0)


@triton.jit
def bias_places(head, row, column, key_row, key_column, top, left, BLOCK: tl.constexpr, HALO: tl.constexpr):
    """Queries x keys: where the bias of a pair lies, in heads, keys of a window, queries of a block."""
    window: tl.constexpr = BLOCK + 2 * HALO
    query = (row - top) * BLOCK + column - left
    key = (key_row - top + HALO) * window + key_column - left + HALO
    of_head = head.to(tl.int64) * (window * window * BLOCK * BLOCK)
    return of_head + key[None, :] * (BLOCK * BLOCK) + query[:, None]
