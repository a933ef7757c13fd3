"""DCNv3's operator alone, and its form that needs no kernel of its own."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.speed import Resolution
from mixers.kernels.dcnv3 import dcnv3

POINTS = 9
GROUP_WIDTH = 16  # channels, as in every published U-InternImage

Operator = Callable[[Tensor, Tensor, Tensor], Tensor]


class Sampling(nn.Module):
    """The operator with its offsets and weights, 3 × 3 points, stride 1, as a module that takes maps `B, H, W, C`.

    What the operator reads and writes is then what a mixer alone does: input, parameters and output.
    """

    def __init__(self, operator: Operator, batch_size: int, resolution: Resolution, channels: int) -> None:
        super().__init__()
        self.operator = operator
        shape = (batch_size, *resolution, channels // GROUP_WIDTH, POINTS)
        self.offsets = nn.Parameter(torch.randn(*shape, 2))
        self.weights = nn.Parameter(torch.randn(shape).softmax(-1))

    def forward(self, value: Tensor) -> Tensor:
        return self.operator(value, self.offsets, self.weights)


def fused(value: Tensor, offsets: Tensor, weights: Tensor, *, implementation: str) -> Tensor:
    """By this project's operator."""
    return dcnv3(value, offsets, weights, kernel_size=3, padding=1, implementation=implementation)


def by_grid_sample(value: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """Every sample of `grid_sample` in memory before they are summed."""
    batch, rows, columns, groups = weights.shape[:4]
    places = {"dtype": value.dtype, "device": value.device}
    side = torch.arange(-1, 2, **places)
    steps = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1).reshape(POINTS, 2)
    pixels = torch.meshgrid(torch.arange(columns, **places), torch.arange(rows, **places), indexing="xy")
    positions = torch.stack(pixels, -1)[:, :, None, None] + steps + offsets
    grid = (2 * positions + 1) / torch.tensor((columns, rows), **places) - 1
    grid = grid.permute(0, 3, 1, 2, 4, 5).reshape(batch * groups, rows * columns, POINTS, 2)
    maps = value.unflatten(-1, (groups, -1)).permute(0, 3, 4, 1, 2).flatten(0, 1)
    samples = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    shares = weights.permute(0, 3, 1, 2, 4).reshape(batch * groups, 1, rows * columns, POINTS)
    total = (samples * shares).sum(-1).reshape(batch, groups, -1, rows, columns)
    return total.permute(0, 3, 4, 1, 2).flatten(-2)


def macs(resolution: Resolution, channels: int) -> int:
    """Four products of the bilinear interpolation and one by the weight, for each point and channel of an image."""
    return 5 * POINTS * resolution[0] * resolution[1] * channels
