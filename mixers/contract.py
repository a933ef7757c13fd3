"""What every spatial token mixer promises, so that a network can hold any of them without asking which one it is.

Shape letters used in this package: B batch, H rows, W columns, C channels (`dim`), N tokens of a window, G groups,
K kernel taps or sampling points, d channels per head or group.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class Mixer(nn.Module, ABC):
    """Mixes tokens over space and does nothing else: norm, MLP, residual and layer scale belong to the block around it.

    A subclass takes `(dim, resolution, *, options)`. Options are keyword-only scalars, annotated as int, float, bool or
    str (or one of these or None); an option whose good value depends on the network has no default in the signature
    and, where there is a usual rule, an entry in `per_stage`.

    Attributes:
        per_stage: network default of an option that differs from stage to stage: four values, or a function of dim.
        per_block: values of an option that alternate along the blocks of a stage, as a cycle.
    """

    per_stage: ClassVar[Mapping[str, tuple[Any, ...] | Callable[[int], Any]]] = {}
    per_block: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
        """`resolution` (H, W in pixels) is the expected input size: it may size tables, and never limits `forward`."""
        super().__init__()
        require(dim >= 1, "dim", dim, "must be at least 1")
        require(min(resolution) >= 1, "resolution", resolution, "rows and columns must be at least 1")
        self.dim = dim

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """B, H, W, C -> B, H, W, C, for any H, W >= 1."""

    @abstractmethod
    def macs(self, resolution: tuple[int, int]) -> int:
        """Multiply-accumulates of one image of `resolution`, in closed form.

        Counted: convolutions, linear layers, matrix products, sampling; with the padding that is really computed.
        Not counted: norms, activations, softmax, pooling, additions.
        """

    def authors_macs(self, resolution: tuple[int, int]) -> int:
        """What the authors' own code spends on the same result: more than `macs` where this one avoids work."""
        return self.macs(resolution)

    def fuse(self) -> nn.Module:
        """A module that computes the same in eval mode, with the parameters as they are now: branches merged, tables
        prepared. Asked by `architectures.inference`, which also asks the mixer's parts. Leaves the mixer as it is; a
        subclass with another `forward` has another form, too."""
        return self

    @abstractmethod
    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        """bool H, W: the input pixels that the output pixel at `position` (row, column) may depend on in eval mode."""


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
