"""Entries of a state dict that were saved in another shape: the module that has one knows how to resize it.

A module that can has a method `resize(key, tensor, shape)`: its own entry `key`, saved as `tensor`, in `shape`. It
raises ValueError for what it cannot resize. Mixers have it, and position embeddings.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def resized(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors`, of which those with another shape than the network's entry are resized by the module that has it.

    What no module can resize, and what the network does not have, is returned as it is, for the caller to refuse.
    """
    shapes = {key: entry.shape for key, entry in network.state_dict().items()}
    return {
        key: tensor if tensor.shape == shapes.get(key, tensor.shape) else _resized(network, key, tensor, shapes[key])
        for key, tensor in tensors.items()
    }


def _resized(network: nn.Module, key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    parts = key.split(".")
    for depth in range(1, len(parts)):
        module = network.get_submodule(".".join(parts[:depth]))
        if hasattr(module, "resize"):
            try:
                return module.resize(".".join(parts[depth:]), tensor, shape)
            except ValueError:
                return tensor
    return tensor
