"""Small configurations of every mixer, and weights for them that hide nothing (no zeros, no ones)."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mixers import Mixer, build_mixer
from mixers.kernels.local_attention import LocalAttention

DIM = 8


@dataclass(frozen=True)
class Case:
    """One mixer with options; `resolution` is what it is built for, tests run it on other sizes.

    `attention` is the implementation of local attention, where the mixer has it. The mixer's name is filled in by the
    plain twin that has the case.
    """

    options: dict[str, Any] = field(default_factory=dict)
    resolution: tuple[int, int] = (14, 14)
    attention: str = "auto"
    mixer: str = ""

    def __str__(self) -> str:
        options = [f"{key}={value}" for key, value in self.options.items()]
        return "-".join([self.mixer, *options, *([] if self.attention == "auto" else [self.attention])])

    def build(self, *, seed: int = 0, scale: float = 0.5) -> Mixer:
        """The mixer in float64 and eval mode, with every parameter and batch-norm statistic drawn from `seed`."""
        mixer = build_mixer(self.mixer, DIM, self.resolution, **self.options).double().eval()
        for module in mixer.modules():
            if isinstance(module, LocalAttention):
                module.implementation = self.attention
        return randomise(mixer, seed=seed, scale=scale)

    def has_local_attention(self) -> bool:
        with torch.device("meta"):
            mixer = build_mixer(self.mixer, DIM, self.resolution, **self.options)
        return any(isinstance(module, LocalAttention) for module in mixer.modules())


def randomise(mixer: Mixer, *, seed: int, scale: float = 0.5) -> Mixer:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, entry in mixer.state_dict().items():
            # A bias above zero, so that the ReLU behind the norm does not switch off every channel.
            if name.endswith(("running_var", "bn.bias")):
                entry.copy_(0.5 + torch.rand(entry.shape, generator=generator, dtype=entry.dtype))
            elif entry.is_floating_point():
                entry.copy_(scale * torch.randn(entry.shape, generator=generator, dtype=entry.dtype))
    return mixer


def random_map(rows: int, columns: int, *, batch: int = 1, dim: int = DIM, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, rows, columns, dim, generator=generator, dtype=torch.float64)


@dataclass
class Plain:
    """A mixer's plain twin, and what the tests must know of the mixer that its own methods do not say.

    Attributes:
        function: (state dict, one image H, W, C, **options) -> H, W, C; its name is the mixer's.
        cases: as the networks use it.
        option_cases: every other branch of its options.
        steering: the layer, and its rows, that scale queries, offsets or generated kernels.
        draws: weights to draw until every pixel of the declared reach was seen.
        widen: what is done to drawn weights before that.
        calm: what is done to weights of unit noise before they fill a network a dozen blocks deep, where rounding would
            grow from block to block.
        chooses: whether it has discrete choices, which rounding in another order can turn.
        is_counted: whether torch's counter sees all its products.
        refused: options that cannot be, with the message, at 64 channels.
        built_for: (resolution, options) -> options as `function` takes them.
    """

    function: Callable[..., Tensor]
    cases: list["Case"]
    option_cases: list["Case"] = field(default_factory=list)
    steering: tuple[str, slice] | None = None
    draws: int = 8
    widen: Callable[[Mixer], None] = lambda mixer: None
    calm: Callable[[Mixer], None] = lambda mixer: None
    chooses: bool = False
    is_counted: bool = True
    refused: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    built_for: Callable[[tuple[int, int], dict[str, Any]], dict[str, Any]] = lambda resolution, options: options

    def __post_init__(self) -> None:
        self.mixer = self.function.__name__
        self.cases = [replace(case, mixer=self.mixer) for case in self.cases]
        self.option_cases = [replace(case, mixer=self.mixer) for case in self.option_cases]
        kept = [case for case in self.cases + self.option_cases if case.has_local_attention()]
        self.option_cases += [replace(case, attention="reference") for case in kept]
