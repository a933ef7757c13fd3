"""Axial shift: groups of channels are moved by different numbers of pixels, along rows and along columns.

Source: Lian et al., "AS-MLP: An Axial Shifted MLP Architecture for Vision", arXiv:2107.08391, section 3.2; official
code svip-lab/AS-MLP.
Differences: none in numbers; what moves in from outside of the map is 0, as there. Initial weights are those of the
unified network's other mixers. The norms between the linear layers are the paper's, and part of the mixer.
Cost: 4 H W C^2.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, require
from .initialization import truncated_normal_layers
from .kernels.gelu import gelu
from .kernels.linear import Linear
from .registry import register


@register("axial_shift")
class AxialShift(Mixer):
    """Linear, norm, GELU; two branches of shift, linear, GELU; their sum, norm, linear. B, H, W, C -> B, H, W, C.

    Each norm is over all pixels and channels of an image, so every pixel of the output depends on the whole map.

    Args:
        shift_size: groups of channels, odd: they move by -(shift_size // 2) to shift_size // 2 pixels. Groups are those
            of torch.chunk: where dim is no multiple the last is smaller, and few channels make fewer groups.
    """

    def __init__(self, dim: int, resolution: tuple[int, int], *, shift_size: int = 5) -> None:
        super().__init__(dim, resolution)
        require(shift_size >= 1 and shift_size % 2 == 1, "shift_size", shift_size, "must be odd and at least 1")
        self.shift_size = shift_size
        self.input_proj = Linear(dim, dim)
        self.input_norm = nn.GroupNorm(1, dim)
        self.horizontal = Linear(dim, dim)
        self.vertical = Linear(dim, dim)
        self.output_norm = nn.GroupNorm(1, dim)
        self.output_proj = Linear(dim, dim)

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        x = gelu(self._normed(self.input_norm, self.input_proj(x)))
        across = gelu(self.horizontal(self._shifted(x, 2)))
        down = gelu(self.vertical(self._shifted(x, 1)))
        return self.output_proj(self._normed(self.output_norm, across + down))

    @staticmethod
    def _normed(norm: nn.GroupNorm, x: Tensor) -> Tensor:
        return norm(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def _shifted(self, x: Tensor, axis: int) -> Tensor:
        """B, H, W, C -> the same, each group moved along an axis by its own number of pixels."""
        size, reach = x.shape[axis], self.shift_size // 2
        padding = (0, 0, reach, reach) if axis == 2 else (0, 0, 0, 0, reach, reach)
        groups = F.pad(x, padding).chunk(self.shift_size, -1)
        return torch.cat([group.narrow(axis, 2 * reach - number, size) for number, group in enumerate(groups)], -1)

    def macs(self, resolution: tuple[int, int]) -> int:
        return 4 * resolution[0] * resolution[1] * self.dim**2

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return torch.ones(resolution, dtype=torch.bool)
