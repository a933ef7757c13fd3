"""Initial weights, skipped on the meta device, where a network is only described."""

from torch import nn


def truncated_normal(module: nn.Module) -> None:
    """Weights of a convolution or linear layer normal with deviation 0.02, cut at ±2; bias 0."""
    if module.weight.is_meta:
        return
    nn.init.trunc_normal_(module.weight, std=0.02)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
