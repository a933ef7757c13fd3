"""Convolution and batch norm over `B, H, W, C` maps.

Both run on a permuted view, which is exactly PyTorch's channels_last memory, so no copy happens on the way in or out.
Their parameters are those of the torch classes, so checkpoints do not see the difference.
"""

from torch import Tensor, nn

from mixers.kernels.linear import MatrixLayer


def channels_first(x: Tensor) -> Tensor:
    """View `B, H, W, C` as `B, C, H, W`."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """View `B, C, H, W` as `B, H, W, C`."""
    return x.permute(0, 2, 3, 1)


class ChannelsLastConv2d(nn.Conv2d):
    """`nn.Conv2d` from `B, H, W, C` to `B, H', W', C'`."""

    def forward(self, x: Tensor) -> Tensor:
        return channels_last(super().forward(channels_first(x)))


class Pointwise(MatrixLayer, nn.Conv2d):
    """1x1 `nn.Conv2d` without bias from `B, H, W, C` to `B, H, W, C'`: a linear layer."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__(in_dim, dim, 1, bias=False)


def normed(norm: nn.Module, x: Tensor) -> Tensor:
    """Batch norm over the last axis of `B, H, W, C`.

    `norm` is PyTorch's own, for `B, C, H, W`, so that whoever replaces batch norms (to synchronise or to freeze them)
    finds what it expects.
    """
    return channels_last(norm(channels_first(x)))
