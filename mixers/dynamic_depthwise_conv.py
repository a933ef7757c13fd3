"""Dynamic depth-wise convolution: one kernel per image and channel, computed from the image.

Source: Han et al., "On the Connection between Local Attention and Dynamic Depth-wise Convolution", arXiv:2106.04263,
section 3.2 (homogeneous); official code Atten4Vis/DemystifyLocalViT, its first commit (the last cannot build it).
Differences: linear layers stand for 1x1 convolutions; by default a linear layer before and after, so that it compares
with `depthwise_conv` (the authors' network has its own, with norms, around the bare operation).
Cost: H W k^2 C + C^2 / r + k^2 C^2 / r, and 2 H W C^2 with projection; r = reduction.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, require
from .initialization import truncated_normal_layers
from .kernels.depthwise import depthwise_conv
from .kernels.linear import Linear
from .registry import register


@register("dynamic_depthwise_conv")
class DynamicDepthwiseConv(Mixer):
    """k x k depth-wise convolution with generated kernels and zero padding. B, H, W, C -> B, H, W, C.

    In training mode the generator's batch norm sees one value per image and channel, so a batch of one image raises
    PyTorch's ValueError.

    Args:
        kernel_size: side k of the kernels, odd, in pixels.
        reduction: the generator's hidden layer has dim // reduction channels, at least one.
        projection: whether there is a linear layer before and after; False leaves the bare operation.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        kernel_size: int = 7,
        reduction: int = 4,
        projection: bool = True,
    ) -> None:
        super().__init__(dim, resolution)
        require(kernel_size >= 1 and kernel_size % 2 == 1, "kernel_size", kernel_size, "must be odd and at least 1")
        require(reduction >= 1, "reduction", reduction, "must be at least 1")
        self.kernel_size = kernel_size
        self.hidden_dim = max(dim // reduction, 1)
        self.projection = projection
        self.input_proj = Linear(dim, dim) if projection else nn.Identity()
        self.conv1 = Linear(dim, self.hidden_dim, bias=False)
        self.bn = nn.BatchNorm2d(self.hidden_dim)
        self.conv2 = Linear(self.hidden_dim, dim * kernel_size**2)
        self.bias = nn.Parameter(torch.zeros(dim))
        self.output_proj = Linear(dim, dim) if projection else nn.Identity()

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_proj(x)
        hidden = self.conv1(x.mean((1, 2)))[..., None, None]  # a map of one pixel, as in the authors' code
        hidden = F.relu(self.bn(hidden)).flatten(1)
        kernels = self.conv2(hidden).unflatten(-1, (self.dim, self.kernel_size, self.kernel_size))
        return self.output_proj(depthwise_conv(x, kernels, self.bias))

    def macs(self, resolution: tuple[int, int]) -> int:
        taps = self.kernel_size**2
        generator = self.dim * self.hidden_dim + self.hidden_dim * self.dim * taps
        return generator + resolution[0] * resolution[1] * (taps * self.dim + 2 * self.dim**2 * self.projection)

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return torch.ones(resolution, dtype=torch.bool)
