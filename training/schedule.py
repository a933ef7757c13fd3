"""Learning-rate schedules as closed forms of the optimiser step, so that there is no schedule state to lose.

All warm up linearly from `warmup_learning_rate` to `learning_rate`, then follow half a cosine towards
`final_learning_rate`. They differ in whether the cosine's clock starts with training or after the warm-up.
"""

import math
from collections.abc import Callable

from .settings import RecipeSettings


def cosine_after_warmup(step: int, recipe: RecipeSettings, steps_per_epoch: int) -> float:
    """The cosine begins at its peak when the warm-up is over (STM-Evaluation).

    Both ends of the warm-up are met exactly, at its first and last step; the final value is approached, not reached.
    """
    warmup = recipe.warmup_epochs * steps_per_epoch
    if step < warmup:
        return _line(recipe.warmup_learning_rate, recipe.learning_rate, step / max(warmup - 1, 1))
    remaining = recipe.epochs * steps_per_epoch - warmup
    return _half_cosine(recipe.learning_rate, recipe.final_learning_rate, (step - warmup) / remaining)


def cosine_from_start(step: int, recipe: RecipeSettings, steps_per_epoch: int) -> float:
    """The cosine's clock runs from step 0, the warm-up covers its first part (DWNet, ConTNet, Swin)."""
    warmup = recipe.warmup_epochs * steps_per_epoch
    if step < warmup:
        return _line(recipe.warmup_learning_rate, recipe.learning_rate, step / warmup)
    return _half_cosine(recipe.learning_rate, recipe.final_learning_rate, step / (recipe.epochs * steps_per_epoch))


def cosine_by_epoch(step: int, recipe: RecipeSettings, steps_per_epoch: int) -> float:
    """`cosine_from_start` in stairs of an epoch, one epoch late: the first two epochs share a value (Conformer)."""
    return cosine_from_start(max(step // steps_per_epoch - 1, 0), recipe, 1)


SCHEDULES: dict[str, Callable[[int, RecipeSettings, int], float]] = {
    "cosine_after_warmup": cosine_after_warmup,
    "cosine_from_start": cosine_from_start,
    "cosine_by_epoch": cosine_by_epoch,
}


def _line(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
