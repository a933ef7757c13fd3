"""Which parameters decay, and the optimiser over them."""

import inspect
import re
from collections.abc import Collection
from difflib import get_close_matches
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

    Raises: ValueError where there is a layer decay but no such method, or a pattern of the recipe matches no parameter.
    """
    _check_patterns(network, recipe)
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


def _check_patterns(network: nn.Module, recipe: RecipeSettings) -> None:
    """A pattern without effect is a misspelt one: what it was to exempt would decay, and nobody would know."""
    names = [name for name, _ in network.named_parameters()]
    for key in ("decay", "no_decay"):
        for pattern in getattr(recipe, key):
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ValueError(
                    f"recipe.{key}: {pattern!r} matches no whole name of a parameter of the network; "
                    f"{_names_like(pattern, names)}; mend it or leave it out"
                )


def _names_like(pattern: str, names: Collection[str]) -> str:
    """The parameters that `pattern` comes nearest to, or how the names of all parameters end."""
    # One of each kind, the first: blocks have the same names but for their numbers.
    kinds = {re.sub(r"\d+(?=\.)", "0", name): name for name in reversed(names)}
    # What may have been meant is a whole name, or a part of one from some dot on.
    whole = {tail: name for name in kinds.values() for tail in _tails(name)}
    near = get_close_matches(pattern.strip("*."), whole, n=3)
    if near:
        return f"the nearest are {', '.join(dict.fromkeys(whole[tail] for tail in near))}"
    return f"names end in {', '.join(sorted({name.rpartition('.')[2] for name in names}))}"


def _tails(name: str) -> list[str]:
    """`a.b.c`, `b.c`, `c`."""
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
