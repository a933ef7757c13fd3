"""Noise in the weights of a network: whether what it learned lies in a wide valley or in a narrow one."""

import copy

import torch
from torch import nn


@torch.no_grad()
def with_noise(network: nn.Module, strength: float, draws: torch.Generator) -> nn.Module:
    """A copy of `network` with normal noise in every parameter of two and more dimensions.

    Biases, norms and layer scales stay as they are, whose effect is of another kind.

    Args:
        strength: standard deviation of the noise, as a share of the root mean square of the parameter's own entries.
        draws: on the CPU, so that all devices draw alike.
    """
    noisy = copy.deepcopy(network)
    for parameter in noisy.parameters():
        if parameter.squeeze().ndim >= 2:
            noise = torch.randn(parameter.shape, generator=draws).to(parameter)
            parameter += strength * parameter.square().mean().sqrt() * noise
    return noisy
