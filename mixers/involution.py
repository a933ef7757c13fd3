"""Involution: each pixel sums its neighbours by a kernel that is generated from it and shared by groups of channels.

Source: Li et al., "Involution: Inverting the Inherence of Convolution for Visual Recognition", arXiv:2103.06255,
section 3 and eq. 4 to 6; official code d-li14/involution, as its RedNet has it between two 1x1 convolutions. With 32
groups and linear layers around it, this operation is `inhomogeneous_dynamic_depthwise_conv`.
Differences: linear layers stand for 1x1 convolutions; sums are in at least float32; no stride, which is not a mixer's.
Cost: H W (k^2 C + C^2 / r + k^2 G C / r), and 2 H W C^2 with projection; r = reduction, G = C / group_channels.
"""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, neighbourhood, require
from .kernels.involution import involution
from .kernels.linear import Linear
from .registry import register


@register("involution")
class Involution(Mixer):
    """Sum of k x k neighbours with weights generated at each pixel, zero padding. B, H, W, C -> B, H, W, C.

    Args:
        group_channels: consecutive channels that share a kernel, 16 or the largest number below that divides dim.
        kernel_size: side k of the kernels, odd, in pixels.
        reduction: the generator's hidden layer has dim // reduction channels, at least one.
        projection: whether there is a linear layer before and after, as RedNet's block has; False leaves the bare
            operation, which mixes no channels.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        group_channels: int,
        kernel_size: int = 7,
        reduction: int = 4,
        projection: bool = False,
    ) -> None:
        super().__init__(dim, resolution)
        divides = group_channels >= 1 and dim % group_channels == 0
        require(divides, "group_channels", group_channels, f"must divide dim={dim}")
        require(kernel_size >= 1 and kernel_size % 2 == 1, "kernel_size", kernel_size, "must be odd and at least 1")
        require(reduction >= 1, "reduction", reduction, "must be at least 1")
        self.groups = dim // group_channels
        self.kernel_size = kernel_size
        self.hidden_dim = max(dim // reduction, 1)
        self.projection = projection
        self.input_proj = Linear(dim, dim) if projection else nn.Identity()
        self.conv1 = Linear(dim, self.hidden_dim, bias=False)
        self.bn = nn.BatchNorm2d(self.hidden_dim)
        self.conv2 = Linear(self.hidden_dim, self.groups * kernel_size**2)
        self.output_proj = Linear(dim, dim) if projection else nn.Identity()

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"group_channels": largest_divisor(dim, at_most=16)}

    def init_weights(self) -> None:
        """The authors': normal, by the number of outputs (He et al., arXiv:1502.01852)."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear) and not layer.weight.is_meta:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_proj(x)
        hidden = self.bn(self.conv1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = involution(x, self.conv2(F.relu(hidden)), self.kernel_size)
        return self.output_proj(x)

    def macs(self, resolution: tuple[int, int]) -> int:
        taps = self.kernel_size**2
        generator = self.hidden_dim * (self.dim + self.groups * taps)
        return resolution[0] * resolution[1] * (generator + taps * self.dim + 2 * self.dim**2 * self.projection)

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return neighbourhood(position, resolution, self.kernel_size // 2)
