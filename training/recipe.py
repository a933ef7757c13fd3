"""Refuses an impossible recipe before anything is built."""

from dataclasses import replace

import torch
from timm.optim import list_optimizers

from .data.random_augment import check_notation
from .optimizer import build_optimizer
from .schedule import SCHEDULES
from .settings import RecipeSettings


def check_recipe(recipe: RecipeSettings) -> None:
    """Cheap: no data and no network are touched.

    Raises:
        ValueError: names the key, the value and the rule or the choices.
    """
    for key, minimum in (
        ("epochs", 1),
        ("batch_size", 1),
        ("accumulation", 1),
        ("warmup_epochs", 0),
        ("augmentation_repeats", 1),
    ):
        _require(recipe, key, getattr(recipe, key) >= minimum, f"must be at least {minimum}")
    for key in ("weight_decay", "learning_rate", "warmup_learning_rate", "final_learning_rate", "mixup", "cutmix"):
        _require(recipe, key, getattr(recipe, key) >= 0, "must not be negative")
    for key in ("random_erasing", "mix_probability", "cutmix_share", "label_smoothing", "color_jitter"):
        _require(recipe, key, 0 <= getattr(recipe, key) <= 1, "must be between 0 and 1")
    for key in ("drop_path_rate", "ema_decay"):
        value = getattr(recipe, key)
        _require(recipe, key, value is None or 0 <= value < 1, "must be null or between 0 and 1, 1 excluded")
    layer_decay = recipe.layer_decay
    _require(recipe, "layer_decay", layer_decay is None or 0 < layer_decay <= 1, "must be null or above 0, at most 1")
    clip = recipe.clip_gradient_norm
    _require(recipe, "clip_gradient_norm", clip is None or clip > 0, "must be null or positive")
    _require(recipe, "warmup_epochs", recipe.warmup_epochs <= recipe.epochs, f"exceeds recipe.epochs={recipe.epochs}")
    _require(
        recipe,
        "accumulation",
        recipe.batch_size % recipe.accumulation == 0,
        f"does not divide recipe.batch_size={recipe.batch_size}",
    )
    mixes = recipe.mixup > 0 or recipe.cutmix > 0
    _require(recipe, "batch_size", not mixes or recipe.batch_size % 2 == 0, "must be even for mixup and CutMix")
    for key in ("random_crop_scale", "random_crop_ratio"):
        bounds = getattr(recipe, key)
        _require(recipe, key, len(bounds) == 2 and 0 < bounds[0] <= bounds[1], "must be two rising positive numbers")
    _require(recipe, "random_crop_scale", recipe.random_crop_scale[1] <= 1, "must not exceed 1, the whole image")
    _require(recipe, "schedule", recipe.schedule in SCHEDULES, f"choose from {', '.join(SCHEDULES)}")
    optimizers = [str(name) for name in list_optimizers()]
    _require(recipe, "optimizer", recipe.optimizer in optimizers, f"choose from {', '.join(optimizers)}")
    try:
        if recipe.random_augment is not None:
            check_notation(recipe.random_augment)
    except ValueError as error:
        raise ValueError(
            f"recipe.random_augment={recipe.random_augment!r}: not timm's notation, e.g. rand-m9-mstd0.5-inc1: {error}"
        ) from error
    _check_optimizer(recipe)


def _check_optimizer(recipe: RecipeSettings) -> None:
    """One step with it: many a value is only looked at then."""
    if own := {"lr", "weight_decay"} & recipe.optimizer_options.keys():
        raise ValueError(
            f"recipe.optimizer_options={recipe.optimizer_options}: {min(own)} has a key of its own in recipe"
        )
    network = torch.nn.Linear(1, 1)
    try:
        # Layers and patterns are the network's matter: see `training.optimizer.parameter_groups`.
        optimizer = build_optimizer(network, replace(recipe, layer_decay=None, decay=[], no_decay=[]))
        network(torch.zeros(1, 1)).sum().backward()
        optimizer.step()
    except Exception as error:  # optimisers refuse in any way: betas of one number are an IndexError
        said = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"recipe.optimizer={recipe.optimizer} cannot be made with recipe.optimizer_options="
            f"{recipe.optimizer_options}: {type(error).__name__}: {said}"
        ) from error


def _require(recipe: RecipeSettings, key: str, holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(f"recipe.{key}={getattr(recipe, key)!r}: {rule}")
