"""What the mixers of a trained network contribute: its accuracy when they say nothing.

A comparison of mixers means something only where the networks need them. A network of which nothing is lost with its
mixers has learned to do without, and would do so with any other mixer.
"""

from collections.abc import Callable

from torch import nn

from architectures.without_mixers import mixers_by_stage, replaced, zero

from .nonfinite import NonFiniteLossError


def top1_without_mixers(network: nn.Module, top1_percent: Callable[[], float]) -> dict[str, float]:
    """Scores of a network whose mixers give zero, all of them and those of one stage at a time.

    Args:
        network: answers otherwise as it does; networks without mixers of ours have no such scores.
        top1_percent: what `network` reaches, with the hooks that are set on it.

    Returns:
        `top1_without_mixers_percent` and `top1_without_mixer_stage_1` to `_4` (%); a score is left out where the
        network without mixers answers with numbers that are not finite.
    """
    stages = mixers_by_stage(network)
    removed = {"top1_without_mixers_percent": [mixer for stage in stages for mixer in stage]}
    removed |= {f"top1_without_mixer_stage_{number}": stage for number, stage in enumerate(stages, start=1)}
    scores = {}
    for name, mixers in removed.items():
        if mixers:
            try:
                with replaced(mixers, zero):
                    scores[name] = top1_percent()
            except NonFiniteLossError:
                continue  # nothing went wrong: this is not the network that was trained
    return scores
