"""Global filter: every frequency of the map has a learned complex factor for each channel.

Source: Rao et al., "Global Filter Networks for Image Classification", arXiv:2107.00645, section 3.2; official code
raoyongming/GFNet.
Differences: none in numbers. There, one residual spans the filter and the MLP; here, as for every mixer, each has its
own. A map of another size than the table gets the table resized as in the authors' code (bilinear, corners aligned,
real and imaginary parts apart): it mixes rows in the order in which they are stored, where negative frequencies come
after the positive ones. The filter is circular: the map's opposite borders are neighbours.
Cost: H W C (ceil(log2(H W)) + 1), as the paper counts, and 8 H (floor(W / 2) + 1) C for a table that is resized.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
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
        wanted = self._table_of(x.shape[1:3])
        if table.shape[:2] != wanted:
            parts = table.permute(3, 2, 0, 1)
            table = F.interpolate(parts, wanted, mode="bilinear", align_corners=True).permute(2, 3, 1, 0)
        return spectral_filter(x, table)

    def macs(self, resolution: tuple[int, int]) -> int:
        rows, columns = self._table_of(resolution)
        resized = self.complex_weight.shape[:2] != (rows, columns)
        return filter_macs(*resolution, self.dim) + 8 * rows * columns * self.dim * resized

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return torch.ones(resolution, dtype=torch.bool)

    @staticmethod
    def _table_of(resolution: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the frequencies of a real map."""
        return resolution[0], resolution[1] // 2 + 1
