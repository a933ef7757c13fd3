"""What every spatial token mixer promises, so that a network can hold any of them without asking which one it is.

Shape letters used in this package: B batch, H rows, W columns, C channels (`dim`), N tokens of a window, G groups,
K kernel taps or sampling points, d channels per head or group.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .measured import counted_macs, measured_receptive_field


class Mixer(nn.Module, ABC):
    """Mixes tokens over space and does nothing else: norm, MLP, residual and layer scale belong to the block around it.

    A subclass takes `(dim, resolution, *, options)`. Options are keyword-only scalars, annotated as int, float, bool or
    str (or one of these or None); an option whose good value depends on the place in the network gets it from
    `defaults`, and needs no default in the signature then. `forward` is all that a mixer must have; the other methods
    are for one that knows better than their defaults.

    Attributes:
        neutral: an option that was added when there were results already -> the value with which the mixer is what it
            was without it. With that value the option is no part of a cell's identity, so that old results stay valid.
        options: what `build_mixer` built this one with, defaults included; the mixer itself has no use for it.
    """

    neutral: ClassVar[Mapping[str, Any]] = {}
    options: Mapping[str, Any]

    def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
        """`resolution` (H, W in pixels) is the expected input size: it may size tables, and never limits `forward`."""
        super().__init__()
        require(dim >= 1, "dim", dim, "must be at least 1")
        require(min(resolution) >= 1, "resolution", resolution, "rows and columns must be at least 1")
        self.dim = dim
        self._counted_macs: dict[tuple[int, int], int] = {}

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """B, H, W, C -> B, H, W, C, for any H, W >= 1."""

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options that depend on the place in a network, or on another option; none unless a mixer says so.

        Args:
            dim: channels of the stage.
            stage, block: counted from 0; a network has four stages.
            given: what this block's options are besides: those that were given, and the signature's defaults.

        What was given wins over what is returned here.
        """
        return {}

    def init_weights(self) -> None:
        """Draws the initial weights; the network calls it once. Unless a mixer says so, `__init__` has drawn them."""

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that never decay, besides biases and other vectors; none unless a mixer says so."""
        return set()

    def resize(self, key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        """The entry `key` of this mixer's state dict, saved in another shape, in the `shape` that it has here.

        For tables that depend on a window or on the size of the map.

        Raises: ValueError for an entry that cannot be resized; unless a mixer says so that is every one.
        """
        raise ValueError(f"{key} has shape {tuple(tensor.shape)}, not {tuple(shape)}, and is nothing to resize")

    def macs(self, resolution: tuple[int, int]) -> int:
        """Multiply-accumulates of one image of `resolution`; counted by torch unless a mixer has a closed form.

        Counted: convolutions, linear layers, matrix products, sampling; with the padding that is really computed.
        Not counted: norms, activations, softmax, pooling, additions. torch sees no product that is written as a
        multiplication and a sum: only a closed form counts it.
        """
        if resolution not in self._counted_macs:
            self._counted_macs[resolution] = counted_macs(self, resolution)
        return self._counted_macs[resolution]

    def authors_macs(self, resolution: tuple[int, int]) -> int:
        """What the authors' own code spends on the same result: more than `macs` where this one avoids work."""
        return self.macs(resolution)

    def fuse(self) -> nn.Module:
        """A module that computes the same in eval mode, with the parameters as they are now: branches merged, tables
        prepared. Asked by `architectures.inference`, which also asks the mixer's parts. Leaves the mixer as it is; a
        subclass with another `forward` has another form, too."""
        return self

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        """bool H, W: the input pixels that the output pixel at `position` (row, column) may depend on in eval mode.

        Measured unless a mixer has a closed form: see `measured.measured_receptive_field` for what that may miss.
        """
        return measured_receptive_field(self, position, resolution)


def require(holds: bool, option: str, value: Any, rule: str) -> None:
    """Raises ValueError naming the option, its value and the rule, unless the rule `holds`."""
    if not holds:
        raise ValueError(f"{option}={value!r}: {rule}")


def largest_divisor(dim: int, *, at_most: int) -> int:
    """Largest divisor of `dim` up to `at_most`, and at least 1: the usual head and group rules, for any width."""
    return max(divisor for divisor in range(1, max(at_most, 1) + 1) if dim % divisor == 0)


def neighbourhood(position: tuple[int, int], resolution: tuple[int, int], radius: int) -> Tensor:
    """bool H, W: the pixels at most `radius` rows and columns away from `position`."""
    near = [(torch.arange(size) - centre).abs() <= radius for centre, size in zip(position, resolution, strict=True)]
    return near[0][:, None] & near[1]
