"""Maps taken apart into lattices: pixels that lie a stride apart, which are a smaller map of their own."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def over_lattices(x: Tensor, strides: Sequence[int], function: Callable[[Tensor], Tensor]) -> Tensor:
    """Applies `function`, B, h, w, C -> B, h, w, C', to each lattice of the map x by itself: B, H, W, C -> B, H, W, C'.

    A lattice has the pixels of equal row modulo strides[0] and equal column modulo strides[1]; a stride is at most as
    long as its axis. Lattices of one size come as one batch: in a single call where the strides divide the map, and in
    up to four where they do not, since lattices differ by one row or column then. Nothing is filled up.
    """
    size = x.shape[1:3]
    longest = [-(-length // stride) for length, stride in zip(size, strides, strict=True)]
    missing = [count * stride - length for count, stride, length in zip(longest, strides, size, strict=True)]
    if any(missing):
        x = F.pad(x, (0, 0, 0, missing[1], 0, missing[0]))
    x = x.unflatten(2, (longest[1], strides[1])).unflatten(1, (longest[0], strides[0]))
    x = x.permute(0, 2, 4, 1, 3, 5)  # B, lattices down, lattices across, rows, columns, C
    bands = []
    down = 0
    for lattices_down, rows in lattice_sizes(size[0], strides[0]):
        band = []
        across = 0
        for lattices_across, columns in lattice_sizes(size[1], strides[1]):
            part = x[:, down : down + lattices_down, across : across + lattices_across, :rows, :columns]
            part = function(part.flatten(0, 2)).unflatten(0, (-1, lattices_down, lattices_across))
            band.append(_filled(part, longest[0] - rows, longest[1] - columns))
            across += lattices_across
        bands.append(torch.cat(band, 2) if len(band) > 1 else band[0])
        down += lattices_down
    y = torch.cat(bands, 1) if len(bands) > 1 else bands[0]
    y = y.permute(0, 3, 1, 4, 2, 5).flatten(3, 4).flatten(1, 2)
    return y[:, : size[0], : size[1]]


def lattice_sizes(size: int, stride: int) -> list[tuple[int, int]]:
    """(lattices, pixels of each) along an axis of `size` pixels; the first `size` modulo `stride` have one more."""
    pixels, longer = divmod(size, stride)
    return [group for group in ((longer, pixels + 1), (stride - longer, pixels)) if group[0] > 0]


def same_lattice(place: int, size: int, stride: int) -> Tensor:
    """bool `size`: the places along an axis that are on the lattice of `place`."""
    return torch.arange(size) % stride == place % stride


def _filled(part: Tensor, rows: int, columns: int) -> Tensor:
    """With so many more rows and columns at the end, which the crop takes away again."""
    return F.pad(part, (0, 0, 0, columns, 0, rows)) if rows or columns else part
