"""DCNv3: deformable convolution whose sampling points, and their weights, are computed at each pixel.

Source: Wang et al., "InternImage: Exploring Large-Scale Vision Foundation Models with Deformable Convolutions",
arXiv:2211.05778, section 3.1; official code OpenGVLab/InternImage; the mixer is the one of Dai et al., arXiv:2211.05781
(official code OpenGVLab/STM-Evaluation), which builds it from Deformable DETR's sampling.
Differences: sampling positions are exact in float64 (the authors' are rounded to float32 there), and any H and W are
taken (theirs must divide the image).
Cost: H W (2 C^2 + m^2 C + 3 G K C + 5 K C) with K = kernel_size^2 points, m = dw_kernel_size; the last term is the
sampling, four products of the bilinear interpolation and one by the weight.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .initialization import truncated_normal_layers
from .kernels.dcnv3 import IMPLEMENTATIONS, dcnv3
from .kernels.gelu import gelu
from .kernels.linear import Linear
from .kernels.softmax import softmax
from .registry import register


@register("dcnv3")
class DCNv3(Mixer):
    """Weighted samples of a projected map at learned positions. B, H, W, C -> B, H, W, C.

    Args:
        groups: groups of channels with offsets and weights of their own. Divides dim.
        kernel_size: side of the square of sampling points before they are moved, odd, in pixels.
        dw_kernel_size: side of the depth-wise convolution that offsets and weights are computed from, odd, in pixels.
        offset_scale: factor on the points' distances from the pixel, learned offsets included.
        implementation: auto, or the code that samples: cpp, cuda, triton or reference. The numbers are the same.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        groups: int,
        kernel_size: int = 3,
        dw_kernel_size: int = 3,
        offset_scale: float = 1.0,
        implementation: str = "auto",
    ) -> None:
        super().__init__(dim, resolution)
        require(groups >= 1 and dim % groups == 0, "groups", groups, f"must divide dim={dim}")
        for option, size in (("kernel_size", kernel_size), ("dw_kernel_size", dw_kernel_size)):
            require(size >= 1 and size % 2 == 1, option, size, "must be odd and at least 1")
        require(offset_scale > 0, "offset_scale", offset_scale, "must be positive")
        choices = ("auto", *IMPLEMENTATIONS)
        require(implementation in choices, "implementation", implementation, f"must be one of {', '.join(choices)}")
        self.groups = groups
        self.kernel_size = kernel_size
        self.offset_scale = offset_scale
        self.implementation = implementation
        points = kernel_size**2
        self.dw_conv = nn.Conv2d(dim, dim, dw_kernel_size, padding=dw_kernel_size // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.sampling_offsets = Linear(dim, groups * points * 2)
        self.attention_weights = Linear(dim, groups * points)
        self.value_proj = Linear(dim, dim)
        self.output_proj = Linear(dim, dim)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"groups": largest_divisor(dim, at_most=dim // 16)}

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        query = self.dw_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        query = gelu(self.norm(query))
        points = self.kernel_size**2
        offsets = self.sampling_offsets(query).unflatten(-1, (self.groups, points, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.groups, points))
        weights = softmax(weights, torch.promote_types(weights.dtype, torch.float32))
        x = dcnv3(
            self.value_proj(x),
            offsets,
            weights,
            kernel_size=self.kernel_size,
            padding=self.kernel_size // 2,
            offset_scale=self.offset_scale,
            implementation=self.implementation,
        )
        return self.output_proj(x)

    def macs(self, resolution: tuple[int, int]) -> int:
        points = self.kernel_size**2
        heads = 3 * self.groups * points * self.dim  # two offsets and one weight per point
        dw_conv = self.dw_conv.kernel_size[0] ** 2 * self.dim
        return resolution[0] * resolution[1] * (2 * self.dim**2 + dw_conv + heads + 5 * points * self.dim)

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        # Offsets have no bound, so a point may lie anywhere.
        return torch.ones(resolution, dtype=torch.bool)
