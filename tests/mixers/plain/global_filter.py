"""Global filter, as the sums that discrete Fourier transforms are."""

import math

import torch
from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters


def global_filter(parameters: Parameters, x: Tensor, *, table_size: int) -> Tensor:
    rows, columns, _ = x.shape
    table = parameters["complex_weight"]
    assert table.shape[0] == table_size
    kept = columns // 2 + 1
    table = resized(resized(table, rows).transpose(0, 1), kept).transpose(0, 1)
    filters = torch.complex(table[..., 0], table[..., 1])
    down, across = waves(rows), waves(columns)[:kept]
    spectrum = torch.einsum("kr,lc,rcn->kln", down, across, x.to(filters.dtype)) / math.sqrt(rows * columns)
    product = spectrum * filters
    # The column frequencies that are left out are mirror images, so these count twice; 0 and one half have none.
    counts = torch.tensor([1.0 if 2 * frequency % columns == 0 else 2.0 for frequency in range(kept)], dtype=x.dtype)
    product = product * counts[:, None]
    return torch.einsum("kr,lc,kln->rcn", down.conj(), across.conj(), product).real / math.sqrt(rows * columns)


def waves(size: int) -> Tensor:
    """Frequencies x places: e^(-2 pi i f p / size)."""
    angle = 2 * math.pi * torch.outer(torch.arange(size), torch.arange(size)).double() / size
    return torch.complex(torch.cos(angle), -torch.sin(angle))


def resized(table: Tensor, size: int) -> Tensor:
    """The first axis with `size` entries, linear between the old ones, first and last where they were."""
    old = table.shape[0]
    places = [entry * (old - 1) / (size - 1) if size > 1 else 0.0 for entry in range(size)]
    lower = [min(int(place), max(old - 2, 0)) for place in places]
    return torch.stack(
        [
            table[low] * (1 - (place - low)) + table[min(low + 1, old - 1)] * (place - low)
            for place, low in zip(places, lower, strict=True)
        ]
    )


PLAIN = Plain(
    global_filter,
    cases=[Case({"table_size": 14})],
    option_cases=[Case({"table_size": 5}), Case({"table_size": 2})],
    refused=[({"table_size": 1}, "table_size=1: must be at least 2")],
)
