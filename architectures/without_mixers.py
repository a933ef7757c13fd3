"""A network of which some mixers say something else than they compute."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mixers import Mixer

Replacement = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""A mixer, its input and its output (B, H, W, C each) -> what it gives instead, of the same shape."""


def mixers_by_stage(network: nn.Module) -> list[list[Mixer]]:
    """The mixers of each stage, in the order of the blocks; nothing of networks without stages or mixers of ours."""
    return [
        [module for module in stage.modules() if isinstance(module, Mixer)] for stage in getattr(network, "stages", ())
    ]


@contextmanager
def replaced(mixers: Sequence[nn.Module], by: Replacement) -> Iterator[None]:
    """Inside, `mixers` give what `by` says; an inference form that is made meanwhile does so, too."""

    def hook(mixer: nn.Module) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        # `by` knows the mixer itself; in an inference form it is a frozen copy that is called.
        return lambda called, inputs, output: by(mixer, inputs[0], output)

    hooks = [mixer.register_forward_hook(hook(mixer)) for mixer in mixers]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


def zero(mixer: nn.Module, x: Tensor, output: Tensor) -> Tensor:
    """Nothing: where the mixer is a residual branch, the branch is gone."""
    return torch.zeros_like(output)


def identity(mixer: nn.Module, x: Tensor, output: Tensor) -> Tensor:
    """What came in, not mixed."""
    return x.to(output.dtype)
