"""Inception convolution: depth-wise convolutions of three shapes, each on a share of the channels; the rest passes.

Source: Yu et al., "InceptionNeXt: When Inception Meets ConvNeXt", arXiv:2303.16900, section 3.2; official code
sail-sg/inceptionnext. Differences: none in numbers; `projection` adds a linear layer before and after, so that it
compares with `depthwise_conv` (the authors' block leaves all mixing of channels to its MLP).
Cost: H W g (s^2 + 2 b) with g = floor(branch_ratio C) channels a branch, a square of side s and bands of length b;
2 H W C^2 more with projection.
"""

import torch
from torch import Tensor, nn

from .contract import Mixer, neighbourhood, require
from .initialization import truncated_normal_layers
from .kernels.linear import Linear
from .registry import register


@register("inception_conv")
class InceptionConv(Mixer):
    """Channels in this order: as they are; convolved with a square, a row, a column of pixels. B, H, W, C -> the same.

    Outside of the map are zeros; each convolution has a bias.

    Args:
        square_kernel_size: side of the square kernel, odd, in pixels.
        band_kernel_size: length of the two bands, 1 x b and b x 1, odd, in pixels.
        branch_ratio: share of the channels that each of the three branches gets, rounded down to whole channels.
        projection: whether there is a linear layer before and after; False leaves the bare convolutions.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        square_kernel_size: int = 3,
        band_kernel_size: int = 11,
        branch_ratio: float = 0.125,
        projection: bool = False,
    ) -> None:
        super().__init__(dim, resolution)
        for option, size in (("square_kernel_size", square_kernel_size), ("band_kernel_size", band_kernel_size)):
            require(size >= 1 and size % 2 == 1, option, size, "must be odd and at least 1")
        width = int(dim * branch_ratio)
        rule = f"three branches need a channel each and no more than all, int(branch_ratio * dim) of dim={dim} each"
        require(width >= 1 and 3 * width <= dim, "branch_ratio", branch_ratio, rule)
        self.square_kernel_size = square_kernel_size
        self.band_kernel_size = band_kernel_size
        self.projection = projection
        self.widths = (dim - 3 * width, width, width, width)
        self.input_proj = Linear(dim, dim) if projection else nn.Identity()
        self.square = _depthwise(width, square_kernel_size, square_kernel_size)
        self.row = _depthwise(width, 1, band_kernel_size)
        self.column = _depthwise(width, band_kernel_size, 1)
        self.output_proj = Linear(dim, dim) if projection else nn.Identity()

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        # Views: the convolutions read their channels out of the channels-last map.
        passed, square, row, column = self.input_proj(x).permute(0, 3, 1, 2).split(self.widths, 1)
        x = torch.cat((passed, self.square(square), self.row(row), self.column(column)), 1)
        return self.output_proj(x.permute(0, 2, 3, 1))

    def macs(self, resolution: tuple[int, int]) -> int:
        taps = self.square_kernel_size**2 + 2 * self.band_kernel_size
        return resolution[0] * resolution[1] * (taps * self.widths[-1] + 2 * self.dim**2 * self.projection)

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        square = neighbourhood(position, resolution, self.square_kernel_size // 2)
        cross = torch.zeros(resolution, dtype=torch.bool)
        cross[position[0]], cross[:, position[1]] = True, True
        return square | (cross & neighbourhood(position, resolution, self.band_kernel_size // 2))


def _depthwise(channels: int, rows: int, columns: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, (rows, columns), padding=(rows // 2, columns // 2), groups=channels)
