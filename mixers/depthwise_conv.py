"""Depth-wise convolution: one learned kernel per channel, the same at every position and for every image.

Sources: Liu et al., "A ConvNet for the 2020s" (ConvNeXt), arXiv:2201.03545, in the two-residual form of Dai et al.,
"Demystify Transformers & Convolutions in Modern Image Deep Networks", arXiv:2211.05781 (official code
OpenGVLab/STM-Evaluation), which puts a 1x1 convolution before and after it and no norm or activation between. Without
these two it is the static mixer of Han et al., "On the Connection between Local Attention and Dynamic Depth-wise
Convolution", arXiv:2106.04263 (official code Atten4Vis/DemystifyLocalViT).
Differences: the 1x1 convolutions are linear layers on channels-last maps; same numbers, no copies.
Cost: H W (k^2 C + 2 C^2), the second term only with projection.
"""

from torch import Tensor, nn

from .contract import Mixer, neighbourhood, require
from .initialization import truncated_normal_layers
from .kernels.depthwise import DepthwiseConv2d
from .kernels.linear import Linear
from .registry import register


@register("depthwise_conv")
class DepthwiseConv(Mixer):
    """Linear, k x k depth-wise convolution with zero padding, linear. B, H, W, C -> B, H, W, C.

    Args:
        kernel_size: side k of the kernel, odd, in pixels.
        projection: whether the two linear layers are there; False leaves the bare convolution.
    """

    def __init__(self, dim: int, resolution: tuple[int, int], *, kernel_size: int = 7, projection: bool = True) -> None:
        super().__init__(dim, resolution)
        require(kernel_size >= 1 and kernel_size % 2 == 1, "kernel_size", kernel_size, "must be odd and at least 1")
        self.kernel_size = kernel_size
        self.projection = projection
        self.input_proj = Linear(dim, dim) if projection else nn.Identity()
        self.dwconv = DepthwiseConv2d(dim, kernel_size)
        self.output_proj = Linear(dim, dim) if projection else nn.Identity()

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.output_proj(self.dwconv(self.input_proj(x)))

    def macs(self, resolution: tuple[int, int]) -> int:
        per_pixel = self.kernel_size**2 * self.dim + 2 * self.dim**2 * self.projection
        return resolution[0] * resolution[1] * per_pixel

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return neighbourhood(position, resolution, self.kernel_size // 2)
