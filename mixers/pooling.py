"""Average pooling: mixing without a single parameter. A control.

Source: Yu et al., "MetaFormer Is Actually What You Need for Vision", arXiv:2111.11418, section 3.2; official code
sail-sg/poolformer. No differences.
Cost: no multiply-accumulates (H W C k^2 additions).
"""

import torch.nn.functional as F
from torch import Tensor

from .contract import Mixer, neighbourhood, require
from .registry import register


@register("pooling")
class Pooling(Mixer):
    """Mean over the neighbours inside the map, minus the pixel itself. B, H, W, C -> B, H, W, C.

    The pixel is subtracted because the block around the mixer adds it again.

    Args:
        pool_size: side of the square neighbourhood, odd, in pixels.
    """

    def __init__(self, dim: int, resolution: tuple[int, int], *, pool_size: int = 3) -> None:
        super().__init__(dim, resolution)
        require(pool_size >= 1 and pool_size % 2 == 1, "pool_size", pool_size, "must be odd and at least 1")
        self.pool_size = pool_size

    def forward(self, x: Tensor) -> Tensor:
        radius = self.pool_size // 2
        mean = F.avg_pool2d(x.permute(0, 3, 1, 2), self.pool_size, 1, radius, count_include_pad=False)
        return mean.permute(0, 2, 3, 1) - x

    def macs(self, resolution: tuple[int, int]) -> int:
        return 0

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return neighbourhood(position, resolution, self.pool_size // 2)
