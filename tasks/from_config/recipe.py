"""Whether a recipe fits the network that learns by it."""

import torch

from architectures import build_network
from training.optimizer import parameter_groups
from training.settings import RecipeSettings

from ..task import Config
from .network import network_spec

_CHECKED: set[str] = set()
"""Networks whose parameters a recipe was held against: many cells of a sweep have the same, seeds and data differ."""


def check_parameter_groups(config: Config) -> None:
    """The recipe's patterns and layers are of the network's parameters, which are not allocated.

    Raises: ValueError naming the pattern.
    """
    spec, recipe = network_spec(config), RecipeSettings(**config["recipe"])
    checked = repr((spec, recipe.decay, recipe.no_decay, recipe.layer_decay))
    if checked not in _CHECKED:
        with torch.device("meta"):
            parameter_groups(build_network(spec), recipe)
        _CHECKED.add(checked)
