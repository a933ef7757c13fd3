"""Inhomogeneous dynamic depth-wise convolution: one kernel per image, position and group of channels.

Source: Han et al., "On the Connection between Local Attention and Dynamic Depth-wise Convolution", arXiv:2106.04263,
section 3.2 (inhomogeneous); official code Atten4Vis/DemystifyLocalViT, where group_channels is called heads. The
operation is the one of involution (Li et al., arXiv:2103.06255).
Differences: plain PyTorch instead of a CUDA kernel, with sums in at least float32; linear layers stand for 1x1
convolutions; by default a linear layer before and after, so that it compares with `depthwise_conv` (the authors'
network has its own, with norms, around the bare operation).
Cost: H W (k^2 C + C^2 / r + k^2 G C / r), and 2 H W C^2 with projection; r = reduction, G = C / group_channels.
"""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, neighbourhood, require
from .initialization import truncated_normal_layers
from .kernels.involution import involution
from .kernels.linear import Linear
from .registry import register


@register("inhomogeneous_dynamic_depthwise_conv")
class InhomogeneousDynamicDepthwiseConv(Mixer):
    """Sum of k x k neighbours with weights generated at each pixel, zero padding. B, H, W, C -> B, H, W, C.

    Args:
        group_channels: consecutive channels that share a kernel. Divides dim.
        kernel_size: side k of the kernels, odd, in pixels.
        reduction: the generator's hidden layer has dim // reduction channels, at least one.
        projection: whether there is a linear layer before and after; False leaves the bare operation.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        group_channels: int,
        kernel_size: int = 7,
        reduction: int = 4,
        projection: bool = True,
    ) -> None:
        super().__init__(dim, resolution)
        divides = group_channels >= 1 and dim % group_channels == 0
        require(divides, "group_channels", group_channels, f"must divide dim={dim}")
        require(kernel_size >= 1 and kernel_size % 2 == 1, "kernel_size", kernel_size, "must be odd and at least 1")
        require(reduction >= 1, "reduction", reduction, "must be at least 1")
        self.group_channels = group_channels
        self.groups = dim // group_channels
        self.kernel_size = kernel_size
        self.hidden_dim = max(dim // reduction, 1)
        self.projection = projection
        self.input_proj = Linear(dim, dim) if projection else nn.Identity()
        self.conv1 = Linear(dim, self.hidden_dim)
        self.bn = nn.BatchNorm2d(self.hidden_dim)
        self.conv2 = Linear(self.hidden_dim, self.groups * kernel_size**2)
        self.output_proj = Linear(dim, dim) if projection else nn.Identity()

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        # 32 groups in every stage, as published, wherever 32 divides dim.
        return {"group_channels": largest_divisor(dim, at_most=dim // 32)}

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_proj(x)
        hidden = self.bn(self.conv1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = involution(x, self.conv2(F.relu(hidden)), self.kernel_size)
        return self.output_proj(x)

    def macs(self, resolution: tuple[int, int]) -> int:
        taps = self.kernel_size**2
        generator = self.dim * self.hidden_dim + self.hidden_dim * self.groups * taps
        return resolution[0] * resolution[1] * (generator + taps * self.dim + 2 * self.dim**2 * self.projection)

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return neighbourhood(position, resolution, self.kernel_size // 2)
