"""Initial weights of the networks' layers, skipped on the meta device, where a network is only described."""

from torch import nn

from mixers.initialization import truncated_normal

__all__ = ["kaiming_normal", "truncated_normal"]


def kaiming_normal(module: nn.Module) -> None:
    """Weights of a convolution normal with deviation sqrt(2 / fan-out), for ReLU after it; the bias stays as it is."""
    if not module.weight.is_meta:
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
