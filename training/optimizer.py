"""Which parameters decay, and the optimiser over them."""

import inspect
from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any

import torch
from timm.models import group_parameters
from timm.optim import create_optimizer_v2, get_optimizer_class
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
    """Trainable parameters in the network's order, in groups: with weight decay and without.

    With `recipe.layer_decay`, both once per layer, from the classifier down; `lr_scale` is the factor on the learning
    rate. What a layer is, the network's `group_matcher` says, as in timm.

    Raises: ValueError where there is a layer decay but no such method.
    """
    exempt: Collection[str] = getattr(network, "no_weight_decay", tuple)()
    scales = _layer_scales(network, recipe)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for scale in sorted(set(scales.values()), reverse=True):
        groups |= {(scale, True): [], (scale, False): []}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups[scales[name], decays(name, parameter, recipe, exempt)].append(parameter)
    return [
        {"params": members, "weight_decay": recipe.weight_decay if decaying else 0.0, "lr_scale": scale}
        for (scale, decaying), members in groups.items()
        if members
    ]


def build_optimizer(network: nn.Module, recipe: RecipeSettings) -> torch.optim.Optimizer:
    """timm's optimiser of the recipe's name; the learning rate is the peak, the loop sets each step's own.

    torch's own optimisers update all parameters in one pass over memory where they can (`fused`).

    Raises:
        TypeError: an option that this optimiser does not take, named.
        ValueError: see `parameter_groups`.
    """
    kind = get_optimizer_class(recipe.optimizer, bind_defaults=False)
    options = dict(recipe.optimizer_options)
    if kind.__module__.startswith("torch.optim") and "fused" in inspect.signature(kind).parameters:
        options.setdefault("fused", True)
    return create_optimizer_v2(
        parameter_groups(network, recipe), opt=recipe.optimizer, lr=recipe.learning_rate, **options
    )


def _layer_scales(network: nn.Module, recipe: RecipeSettings) -> dict[str, float]:
    """Factor on the learning rate of each parameter: 1 at the top, `recipe.layer_decay` times less per layer below."""
    names = [name for name, _ in network.named_parameters()]
    if recipe.layer_decay is None:
        return dict.fromkeys(names, 1.0)
    if not hasattr(network, "group_matcher"):
        raise ValueError(f"recipe.layer_decay={recipe.layer_decay}: this network does not say what its layers are")
    layers = group_parameters(network, network.group_matcher(coarse=False), reverse=True)
    top = max(layers.values())
    return {name: recipe.layer_decay ** (top - layers[name]) for name in names}


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
