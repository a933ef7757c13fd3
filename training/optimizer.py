"""Which parameters decay, and the optimiser over them."""

from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import nn

from .settings import RecipeSettings


def decays(name: str, parameter: nn.Parameter, recipe: RecipeSettings, network_exempt: Collection[str]) -> bool:
    """Whether weight decay applies to a parameter.

    The recipe's patterns come first; then the rule that all recipes share (1-D parameters and biases do not decay,
    nor does what the network's `no_weight_decay()` lists).
    """
    if _matches(name, recipe.decay):
        return True
    if _matches(name, recipe.no_decay) or _matches(name, network_exempt):
        return False
    return parameter.ndim > 1 and not name.endswith(".bias")


def parameter_groups(network: nn.Module, recipe: RecipeSettings) -> list[dict[str, Any]]:
    """Trainable parameters in two groups, in the network's order: those with weight decay, those without.

    A group without parameters is left out.
    """
    exempt: Collection[str] = getattr(network, "no_weight_decay", tuple)()
    with_decay: list[nn.Parameter] = []
    without: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (with_decay if decays(name, parameter, recipe, exempt) else without).append(parameter)
    groups = [
        {"params": with_decay, "weight_decay": recipe.weight_decay},
        {"params": without, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(network: nn.Module, recipe: RecipeSettings) -> torch.optim.Optimizer:
    """timm's optimiser of the recipe's name; the learning rate is the peak, the loop sets each step's own.

    Raises:
        TypeError: an option that this optimiser does not take, named.
    """
    return create_optimizer_v2(
        parameter_groups(network, recipe), opt=recipe.optimizer, lr=recipe.learning_rate, **recipe.optimizer_options
    )


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
