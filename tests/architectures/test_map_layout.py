"""Maps keep one layout in memory, channels last, from the image to the logits and back to the gradients."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from architectures import NetworkSpec, build_network

from .networks import NETWORKS, image, logits

SIZE = (64, 96)
CHANNELS_FIRST, CHANNELS_LAST = (0, 1, 2, 3), (0, 2, 3, 1)
COPIES = (torch.ops.aten.clone.default, torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)


def layout(tensor: Tensor) -> tuple[int, ...]:
    """Axes from the one with the longest stride to the one with the shortest."""
    return tuple(sorted(range(tensor.dim()), key=lambda axis: -tensor.stride(axis)))


class Profile(TorchDispatchMode):
    """Notes each copy of maps `B, C, H, W` from one layout to another, and operators that get them channels first.

    Axes of length 1 have no order, so only maps of more pixels and channels count. Our operators take `B, H, W, C`.
    """

    def __init__(self, parameters: set[tuple[int, ...]]) -> None:
        super().__init__()
        self.parameters = parameters
        self.changes: list[tuple[int, ...]] = []
        self.channels_first: list[str] = []

    def __torch_dispatch__(
        self, operator: Any, types: Any, arguments: tuple[Any, ...] = (), options: Mapping[str, Any] | None = None
    ) -> Any:
        output = operator(*arguments, **(options or {}))
        maps = [tensor for tensor in arguments if isinstance(tensor, Tensor) and self.is_map(tensor)]
        if operator in COPIES:
            if maps and {layout(maps[-1]), layout(output)} == {CHANNELS_FIRST, CHANNELS_LAST}:
                self.changes.append(tuple(output.shape))
        elif any(word in str(operator) for word in ("convolution", "batch_norm", "pool", "upsample")):
            self.channels_first += [str(operator) for tensor in maps if layout(tensor) != CHANNELS_LAST]
        elif str(operator).startswith("stmbench."):
            self.channels_first += [str(operator) for tensor in maps if layout(tensor) != CHANNELS_FIRST]
        return output

    def is_map(self, tensor: Tensor) -> bool:
        return tensor.dim() == 4 and min(tensor.shape) > 1 and tuple(tensor.shape) not in self.parameters


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("training", [False, True])
def test_layout_changes_once_at_the_image(name: str, training: bool) -> None:
    network = build_network(NetworkSpec(name, num_classes=10)).train(training)
    images = image(SIZE)
    with Profile({tuple(parameter.shape) for parameter in network.parameters()}) as profile:
        with torch.set_grad_enabled(training):
            output = logits(network(images))
        if training:
            output.sum().backward()
    assert profile.changes == [tuple(images.shape)]
    assert not profile.channels_first
