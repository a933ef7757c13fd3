"""Initial weights, skipped on the meta device, where a network is only described."""

from torch import nn


def truncated_normal(module: nn.Module) -> None:
    """Weights of a convolution or linear layer normal with deviation 0.02, cut at ±2; bias 0."""
    if module.weight.is_meta:
        return
    nn.init.trunc_normal_(module.weight, std=0.02)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def kaiming_normal(module: nn.Module) -> None:
    """Weights of a convolution normal with deviation sqrt(2 / fan-out), for ReLU after it; the bias stays as it is."""
    if not module.weight.is_meta:
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
