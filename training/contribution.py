"""What the mixers of a trained network contribute: its accuracy when they say nothing.

A comparison of mixers means something only where the networks need them. A network of which nothing is lost with its
mixers has learned to do without, and would do so with any other mixer.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from architectures.block import Block

from .nonfinite import NonFiniteLossError


def top1_without_mixers(network: nn.Module, top1_percent: Callable[[], float]) -> dict[str, float]:
    """Scores of a network whose mixers' branches are zero, all of them and those of one stage at a time.

    Args:
        network: answers otherwise as it does; networks without blocks around a mixer have no such scores.
        top1_percent: what `network` reaches, with the hooks that are set on it.

    Returns:
        `top1_without_mixers_percent` and `top1_without_mixer_stage_1` to `_4` (%); a score is left out where the
        network without mixers answers with numbers that are not finite.
    """
    stages = [
        [block.mixer for block in stage.modules() if isinstance(block, Block)]
        for stage in getattr(network, "stages", ())
    ]
    removed = {"top1_without_mixers_percent": [mixer for stage in stages for mixer in stage]}
    removed |= {f"top1_without_mixer_stage_{number}": stage for number, stage in enumerate(stages, start=1)}
    scores = {}
    for name, mixers in removed.items():
        if mixers:
            try:
                with silent(mixers):
                    scores[name] = top1_percent()
            except NonFiniteLossError:
                continue  # nothing went wrong: this is not the network that was trained
    return scores


@contextmanager
def silent(mixers: Sequence[nn.Module]) -> Iterator[None]:
    """What comes out of `mixers` is zero."""
    hooks = [mixer.register_forward_hook(_zero) for mixer in mixers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _zero(mixer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return torch.zeros_like(output)
