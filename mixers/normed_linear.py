"""A linear layer with a batch norm behind it, which the inference form does without.

In eval mode a batch norm multiplies each channel by a factor and adds a number: the layer before it can do both itself.
"""

import torch
from torch import Tensor, nn

from .kernels.linear import Linear


class NormedLinear(nn.Module):
    """Linear without bias, batch norm. B, H, W, C -> B, H, W, C'."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = Linear(in_features, out_features, bias=False)
        self.bn = nn.BatchNorm2d(out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.linear(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def fuse(self) -> nn.Module:
        with torch.device("meta"):
            merged = Linear(self.linear.in_features, self.linear.out_features)
        weight, bias = with_norm(self.linear.weight, self.bn)
        merged.weight, merged.bias = nn.Parameter(weight), nn.Parameter(bias)
        return merged.fuse()


def with_norm(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the layer with this `weight`, output channels first, and the batch norm behind it, in one."""
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias = norm.bias - norm.running_mean * factor
    return (weight * factor.reshape(-1, *[1] * (weight.ndim - 1))).detach(), bias.detach()
