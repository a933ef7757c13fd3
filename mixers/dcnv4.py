"""DCNv4: deformable convolution whose sampling weights have no softmax, and are computed from the pixel alone.

Source: Xiong et al., "Efficient Deformable ConvNets: Rethinking Dynamic and Sparse Operator for Vision Applications",
arXiv:2401.06197, section 3; official code OpenGVLab/DCNv4, with the options of its FlashInternImage-T and -S.
Against `dcnv3`: weights are unbounded and may be negative, and there is no depth-wise convolution, norm and GELU before
the offsets.
Differences: the layer of offsets and weights has no outputs without a use (the authors fill it up to a multiple of 8
for aligned loads); any C / G (theirs must be a multiple of 16); the centre feature scale of the H and G sizes is left
out.
Cost: H W (2 C^2 + 3 G K C + 5 K C + m^2 C) with K = kernel_size^2 points and m = dw_kernel_size, 0 without; the third
term is the sampling, four products of the bilinear interpolation and one by the weight.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .kernels.dcnv3 import IMPLEMENTATIONS, dcnv3
from .kernels.linear import Linear
from .registry import register


@register("dcnv4")
class DCNv4(Mixer):
    """Weighted samples of a projected map at learned positions. B, H, W, C -> B, H, W, C.

    Args:
        groups: groups of channels with offsets and weights of their own. Divides dim.
        kernel_size: side of the square of sampling points before they are moved, odd, in pixels.
        dw_kernel_size: side of a depth-wise convolution that offsets and weights are computed from, odd, in pixels;
            None: they are computed from the pixel itself.
        offset_scale: factor on the points' distances from the pixel, learned offsets included.
        output_bias: whether the last linear layer has a bias.
        implementation: auto, or the code that samples: cpp, cuda, triton or reference. The numbers are the same.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        groups: int,
        kernel_size: int = 3,
        dw_kernel_size: int | None = None,
        offset_scale: float = 1.0,
        output_bias: bool = False,
        implementation: str = "auto",
    ) -> None:
        super().__init__(dim, resolution)
        require(groups >= 1 and dim % groups == 0, "groups", groups, f"must divide dim={dim}")
        for option, size in (("kernel_size", kernel_size), ("dw_kernel_size", dw_kernel_size)):
            require(size is None or (size >= 1 and size % 2 == 1), option, size, "must be odd and at least 1")
        require(offset_scale > 0, "offset_scale", offset_scale, "must be positive")
        choices = ("auto", *IMPLEMENTATIONS)
        require(implementation in choices, "implementation", implementation, f"must be one of {', '.join(choices)}")
        self.groups = groups
        self.kernel_size = kernel_size
        self.dw_kernel_size = dw_kernel_size
        self.offset_scale = offset_scale
        self.implementation = implementation
        self.offset_mask_dw = (
            nn.Conv2d(dim, dim, dw_kernel_size, padding=dw_kernel_size // 2, groups=dim) if dw_kernel_size else None
        )
        # Of each group: (x, y) of every point, then the weight of every point.
        self.offset_mask = Linear(dim, groups * 3 * kernel_size**2)
        self.value_proj = Linear(dim, dim)
        self.output_proj = Linear(dim, dim, bias=output_bias)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"groups": largest_divisor(dim, at_most=dim // 16)}

    def init_weights(self) -> None:
        """The authors': offsets and weights start at zero, so that the mixer adds nothing at first."""
        if self.offset_mask.weight.is_meta:
            return
        nn.init.zeros_(self.offset_mask.weight)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
        for layer in (self.offset_mask, self.value_proj, self.output_proj):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        query = x
        if self.offset_mask_dw is not None:
            query = self.offset_mask_dw(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        points = self.kernel_size**2
        offsets, weights = self.offset_mask(query).unflatten(-1, (self.groups, -1)).split((2 * points, points), -1)
        x = dcnv3(
            self.value_proj(x),
            offsets.unflatten(-1, (points, 2)),
            weights,
            kernel_size=self.kernel_size,
            padding=self.kernel_size // 2,
            offset_scale=self.offset_scale,
            implementation=self.implementation,
        )
        return self.output_proj(x)

    def macs(self, resolution: tuple[int, int]) -> int:
        points = self.kernel_size**2
        offsets_and_weights = 3 * self.groups * points + (self.dw_kernel_size or 0) ** 2
        return resolution[0] * resolution[1] * self.dim * (2 * self.dim + offsets_and_weights + 5 * points)

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        # Offsets have no bound, so a point may lie anywhere.
        return torch.ones(resolution, dtype=torch.bool)
