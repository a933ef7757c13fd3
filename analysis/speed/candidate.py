"""What is timed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..settings import MemoryFormat

Resolution = tuple[int, int]


@dataclass(frozen=True)
class Candidate:
    """A network, or a mixer alone.

    Attributes:
        name: tells it from the others in its measurement.
        build: makes the float32 module for images, or maps, of so many rows and columns.
        dim: channels of the maps that a mixer alone gets as `B, H, W, C`; None for a network, which gets images.
        macs: multiply-accumulates of a forward pass of one image or map; None where nobody counted them.
        compiled: the ways to run it (True: through torch.compile) among those that are asked for; None is all of them.
        pure: whether input and parameters are in the precision themselves, as they lie, instead of autocast choosing
            for each operation and convolutions' weights getting a memory format.
        memory_format: of images and convolution weights, for a network that is to have another than the settings'.
        config: what of the cell's configuration is another for this candidate, so that its rows find their network.
    """

    name: str
    build: Callable[[Resolution], nn.Module]
    dim: int | None = None
    macs: Callable[[Resolution], int] | None = None
    compiled: Sequence[bool] | None = None
    pure: bool = False
    memory_format: MemoryFormat | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
