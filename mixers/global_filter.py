"""Global filter: every frequency of the map has a learned complex factor for each channel.

Source: Rao et al., "Global Filter Networks for Image Classification", arXiv:2107.00645, section 3.2; official code
raoyongming/GFNet.
Differences: none in numbers. There, one residual spans the filter and the MLP; here, as for every mixer, each has its
own. A map of another size than the table gets the table resized as in the authors' code (bilinear, corners aligned,
real and imaginary parts apart): it mixes rows in the order in which they are stored, where negative frequencies come
after the positive ones. The filter is circular: the map's opposite borders are neighbours.
Cost: H W C (ceil(log2(H W)) + 1), as the paper counts; resizing the table, once for all images, is not counted.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .contract import Mixer, require
from .kernels.spectral_filter import filter_macs, spectral_filter
from .registry import register


@register("global_filter")
class GlobalFilter(Mixer):
    """Fourier transform, product with a table, inverse transform, in at least float32. B, H, W, C -> B, H, W, C.

    Args:
        table_size: side of the square maps whose frequencies the table has, in pixels: 56, 28, 14, 7 by stage.
    """

    def __init__(self, dim: int, resolution: tuple[int, int], *, table_size: int) -> None:
        super().__init__(dim, resolution)
        require(table_size >= 2, "table_size", table_size, "must be at least 2")
        self.complex_weight = nn.Parameter(torch.empty(table_size, table_size // 2 + 1, dim, 2))
        self.init_weights()

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"table_size": (56, 28, 14, 7)[stage]}

    def init_weights(self) -> None:
        nn.init.normal_(self.complex_weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        table = self.complex_weight.to(torch.promote_types(x.dtype, torch.float32))
        rows, columns = x.shape[1:3]
        # Of a real map's column frequencies the upper half are mirror images.
        table = resized_axis(resized_axis(table, 0, rows), 1, columns // 2 + 1)
        return spectral_filter(x, table)

    def macs(self, resolution: tuple[int, int]) -> int:
        return filter_macs(*resolution, self.dim)

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return torch.ones(resolution, dtype=torch.bool)


def resized_axis(table: Tensor, axis: int, size: int) -> Tensor:
    """The table with `size` entries along an axis, linear between the old ones; the first and the last stay.

    As F.interpolate does, whose layout for maps would take two copies of the table.
    """
    last = table.shape[axis] - 1
    if size == last + 1:
        return table
    steps = max(size - 1, 1)
    places = torch.arange(size, device=table.device) * last
    below = torch.div(places, steps, rounding_mode="floor").clamp(max=max(last - 1, 0))
    share = (places - below * steps).to(table.dtype) / steps
    share = share.view(-1, *[1] * (table.dim() - axis - 1))
    lower, upper = table.index_select(axis, below), table.index_select(axis, (below + 1).clamp(max=last))
    return lower * (1 - share) + upper * share
