"""Local attention on any GPU that Triton compiles for.

A program's work is a tile of queries of one block in one head; keys and values are read where they lie, so nothing is
unfolded, padded or rolled. Gradients need no atomic additions and come out the same every time: blocks whose windows
overlap are differentiated in launches that follow each other.
"""

import math
from itertools import product
from typing import Any

import torch
import triton
from torch import Tensor

from ..triton_launch import device_of, prepare
from .geometry import Geometry
from .layout import sums_of_parts, with_contiguous_channels
from .triton_programs import backward_program, forward_program

__all__ = ["backward", "forward", "prepare"]

# Sizes of a program, from what leaves registers to spare in compiled code for sm_80; nobody has timed them.
_SHORTEST = 16  # axis of a product
_MOST_QUERIES = 64
_MOST_KEYS = 32
# Queries x channels at most, where that leaves the axes long enough.
_ELEMENTS = 4096
_ELEMENTS_IN_BACKWARD = 2048
_ELEMENTS_IN_SINGLE = 1024

# Sums of the gradients of bias and tables over a part of the blocks in a head: how many, and their bytes, at most.
_PARTS = 2048
_PARTS_BYTES = 2**26


def forward(
    query: Tensor, key: Tensor, value: Tensor, added: tuple[Tensor | None, ...], geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """`added`: bias heads, w*w, b*b; row table; column table. Returns output and, for the gradient, each query's
    logarithm of its sum of exponentials, B, H, W, heads."""
    output = query.new_empty(query.shape)
    log_sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
    if query.numel() == 0:
        return output, log_sums
    batch, rows, columns, heads, width = query.shape
    query, key, value = (with_contiguous_channels(tensor) for tensor in (query, key, value))
    constants = _constants(query, geometry, _ELEMENTS)
    tiles = _tiles(query, geometry, constants["QUERIES"])
    grid = _grid(query, geometry)
    with device_of(query):
        forward_program[(batch * grid[0] * grid[1] * tiles * heads,)](
            *(output, log_sums, query, key, value, *_prepared(added, query)),
            *(tensor.stride() for tensor in (output, log_sums, query, key, value)),
            *(rows, columns, heads, grid, tiles, width**-0.5),
            **constants,
        )
    return output, log_sums


def backward(
    grad: Tensor,
    output: Tensor,
    log_sums: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    added: tuple[Tensor | None, ...],
    geometry: Geometry,
) -> list[Tensor | None]:
    """Gradients of query, key, value and the three of `added`, None for those that are None."""
    if query.numel() == 0:
        return [None if tensor is None else torch.zeros_like(tensor) for tensor in (query, key, value, *added)]
    batch, rows, columns, heads, width = query.shape
    query, key, value = (with_contiguous_channels(tensor) for tensor in (query, key, value))
    grad, output = grad.contiguous(), output.contiguous()
    constants = _constants(query, geometry, _ELEMENTS_IN_BACKWARD)
    # Windows of blocks that are so many blocks apart do not overlap.
    step = -(-geometry.window_size // geometry.block_size)
    corners = product(*(range(min(step, _blocks(size, geometry))) for size in (rows, columns)))
    launches = list(product(corners, range(_tiles(query, geometry, constants["QUERIES"]))))
    constants["ACCUMULATE"] = len(launches) > 1

    new, dtype = (torch.zeros, torch.float32) if constants["ACCUMULATE"] else (torch.empty, query.dtype)
    grad_key, grad_value = (new(query.shape, dtype=dtype, device=query.device) for _ in range(2))
    grad_query = query.new_empty(query.shape)
    parts = _parts(batch * math.prod(_grid(query, geometry, step)[:2]), heads, added)
    sums = [
        None if tensor is None else query.new_zeros((parts, *lead, *tensor.shape), dtype=torch.float32)
        for tensor, lead in zip(added, ((), (heads,), (heads,)), strict=True)
    ]
    inputs = (query, key, value, *_prepared(added, query))
    with device_of(query):
        for corner, tile in launches:
            grid = _grid(query, geometry, step, corner)
            backward_program[(parts * heads,)](
                *(grad_query, grad_key, grad_value, *sums, grad, output, log_sums, *inputs),
                *(tensor.stride() for tensor in (grad_query, log_sums, query, key, value)),
                *(rows, columns, heads, grid, batch * grid[0] * grid[1], tile, width**-0.5),
                **constants,
            )
    return [grad_query, grad_key, grad_value, *sums_of_parts(sums, added)]


def _constants(query: Tensor, geometry: Geometry, elements: int) -> dict[str, Any]:
    """What programs are compiled for, in half precision with so many queries x channels at most."""
    window = geometry.window_size
    channels = _length(query.shape[-1])
    in_single = query.dtype == torch.float32
    longest = max(_SHORTEST, (_ELEMENTS_IN_SINGLE if in_single else elements) // channels)
    # Products of factors in half precision may be rounded like these; AMD's GPUs have no such products.
    rounded = torch.version.hip is None and not (in_single and torch.backends.cuda.matmul.fp32_precision != "tf32")
    return {
        "BLOCK": geometry.block_size,
        "HALO": geometry.halo_size,
        "WINDOW": window,
        "WIDTH": query.shape[-1],
        "CHANNELS": channels,
        "ENTRIES": _length(2 * window - 1),
        "PLACES": _length(window),
        "QUERIES": min(_MOST_QUERIES, longest, _length(_pixels(query, geometry.block_size))),
        "KEYS": min(_MOST_KEYS, longest, _length(_pixels(query, window))),
        "PRECISION": "tf32" if rounded else "ieee",
        "num_warps": 4 if channels <= 64 else 8,
        "num_stages": 2,
        "enable_fp_fusion": True,
    }


def _length(least: int) -> int:
    """Of an axis of a product that holds `least`."""
    return max(_SHORTEST, triton.next_power_of_2(least))


def _pixels(query: Tensor, side: int) -> int:
    """The most pixels of the map that a square has."""
    return min(query.shape[1], side) * min(query.shape[2], side)


def _tiles(query: Tensor, geometry: Geometry, queries: int) -> int:
    return -(-_pixels(query, geometry.block_size) // queries)


def _blocks(size: int, geometry: Geometry) -> int:
    """Blocks along an axis; the map's border cuts the first, where there is a shift, and the last."""
    return -(-(size - _first(geometry)) // geometry.block_size)


def _first(geometry: Geometry) -> int:
    """First row and column of the first block."""
    return geometry.shift - geometry.block_size if geometry.shift else 0


def _grid(
    query: Tensor, geometry: Geometry, step: int = 1, corner: tuple[int, int] = (0, 0)
) -> tuple[int, int, int, int, int]:
    """Every `step`th block along both axes from the one numbered `corner` on, as `triton_window.block_corner` wants."""
    counts = (-(-(_blocks(size, geometry) - at) // step) for size, at in zip(query.shape[1:3], corner, strict=True))
    firsts = (_first(geometry) + at * geometry.block_size for at in corner)
    return *counts, *firsts, step * geometry.block_size


def _parts(blocks: int, heads: int, added: tuple[Tensor | None, ...]) -> int:
    """How many programs share the blocks of a head."""
    bias, *tables = added
    elements = sum(heads * table.numel() for table in tables if table is not None)
    elements += 0 if bias is None else bias.numel()
    if not elements:
        return blocks
    return max(1, min(blocks, _PARTS // heads, _PARTS_BYTES // (4 * elements)))


def _prepared(added: tuple[Tensor | None, ...], query: Tensor) -> list[Tensor | None]:
    """Contiguous; tables, which are factors of products, in the dtype of the other factors."""
    bias, *tables = added
    tables = [None if table is None else table.to(query.dtype).contiguous() for table in tables]
    return [None if bias is None else bias.contiguous(), *tables]
