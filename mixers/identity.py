"""No mixing at all: what the rest of the network reaches on its own. A control.

Source: IdentityFormer of Yu et al., "MetaFormer Baselines for Vision", arXiv:2210.13452; official code
sail-sg/metaformer. No differences.
Cost: none.
"""

from torch import Tensor

from .contract import Mixer, neighbourhood
from .registry import register


@register("identity")
class Identity(Mixer):
    """Returns its input. B, H, W, C -> B, H, W, C."""

    def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
        super().__init__(dim, resolution)

    def forward(self, x: Tensor) -> Tensor:
        return x

    def macs(self, resolution: tuple[int, int]) -> int:
        return 0

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return neighbourhood(position, resolution, 0)
