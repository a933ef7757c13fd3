"""Window MLP: inside a window, each pixel is a learned weighted sum of all its pixels, whatever the image.

Sources: Liu et al., "Swin Transformer", arXiv:2103.14030, appendix A3.3 (Swin-MLP; official code
microsoft/Swin-Transformer, models/swin_mlp.py), and the local MLP in the comparison of Han et al., "On the Connection
between Local Attention and Dynamic Depth-wise Convolution", arXiv:2106.04263, whose code was never released. It is
shifted-window attention with shares that are learned instead of computed: shared by images, windows and the channels of
a head, and not by positions, as those of a depth-wise convolution are. There is no projection and no activation.
Differences: sizes that are no multiple of the window are filled up with zeros and cropped, where the authors' code
refuses them. A map that is not larger than a window in one direction is not shifted; the authors' code decides that by
the size that it is built for, and then shrinks its weights to that size.
Cost: w^4 C for each window with side w, also for those that the border cuts.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, largest_divisor, require
from .registry import register


@register("window_mlp")
class WindowMLP(Mixer):
    """A w^2 x w^2 matrix, and a bias for each place, for the pixels of a window. B, H, W, C -> B, H, W, C.

    Args:
        num_heads: groups of consecutive channels, each with a matrix of its own. Divides dim; dim itself leaves nothing
            that channels share.
        window_size: side w of the window, in pixels.
        shift_size: rows and columns by which the window grid is moved down and to the right; less than window_size.
            Half a window in every second block, unless it is given.
    """

    def __init__(
        self, dim: int, resolution: tuple[int, int], *, num_heads: int, window_size: int = 7, shift_size: int = 0
    ) -> None:
        super().__init__(dim, resolution)
        require(num_heads >= 1 and dim % num_heads == 0, "num_heads", num_heads, f"must divide dim={dim}")
        require(window_size >= 1, "window_size", window_size, "must be at least 1")
        rule = f"must be at least 0 and less than window_size={window_size}"
        require(0 <= shift_size < window_size, "shift_size", shift_size, rule)
        self.num_heads = num_heads
        self.window_size = window_size
        self.shift_size = shift_size
        places = window_size**2
        self.weight = nn.Parameter(torch.empty(num_heads, places, places))  # of each head: outputs x inputs
        self.bias = nn.Parameter(torch.empty(num_heads, places))
        # As PyTorch draws a linear layer of so many inputs, which the authors leave as it is.
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -1 / window_size, 1 / window_size)

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        shift = given["window_size"] // 2 if block % 2 else 0
        return {"num_heads": largest_divisor(dim, at_most=dim // 32), "shift_size": shift}

    def no_weight_decay(self) -> set[str]:
        return {"bias"}

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, columns, _ = x.shape
        size, front = self.window_size, self._front((rows, columns))
        down, across = self._windows((rows, columns))
        x = F.pad(x, (0, 0, front, across * size - columns - front, front, down * size - rows - front))
        x = x.reshape(batch, down, size, across, size, self.num_heads, -1).permute(5, 2, 4, 0, 1, 3, 6)
        # One product a head, of all windows, images and channels at once.
        x = torch.baddbmm(self.bias[:, :, None], self.weight, x.flatten(3).flatten(1, 2))
        x = x.reshape(self.num_heads, size, size, batch, down, across, -1).permute(3, 4, 1, 5, 2, 0, 6)
        x = x.flatten(5).flatten(3, 4).flatten(1, 2)
        return x[:, front : front + rows, front : front + columns]

    def _front(self, resolution: tuple[int, int]) -> int:
        """Rows and columns of zeros in front of the map, which the first windows of a shifted grid reach out to."""
        shifted = self.shift_size > 0 and min(resolution) > self.window_size
        return self.window_size - self.shift_size if shifted else 0

    def _windows(self, resolution: tuple[int, int]) -> tuple[int, int]:
        """Windows down and across."""
        rows, columns = (-(-(size + self._front(resolution)) // self.window_size) for size in resolution)
        return rows, columns

    def macs(self, resolution: tuple[int, int]) -> int:
        down, across = self._windows(resolution)
        return down * across * self.window_size**4 * self.dim

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        front = self._front(resolution)
        near = [
            (torch.arange(size) + front) // self.window_size == (place + front) // self.window_size
            for place, size in zip(position, resolution, strict=True)
        ]
        return near[0][:, None] & near[1]
