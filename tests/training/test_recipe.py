"""Impossible recipes are refused with the key, the value and the rule."""

import pytest

from tests.training.examples import recipe_settings
from training.recipe import check_recipe


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, ["recipe.epochs=0", "at least 1"]),
        ({"warmup_epochs": 11, "epochs": 10}, ["recipe.warmup_epochs=11", "recipe.epochs=10"]),
        ({"batch_size": 64, "accumulation": 3}, ["recipe.accumulation=3", "recipe.batch_size=64"]),
        ({"batch_size": 63, "mixup": 0.8}, ["recipe.batch_size=63", "even"]),
        ({"learning_rate": -1.0}, ["recipe.learning_rate=-1.0", "negative"]),
        ({"label_smoothing": 1.5}, ["recipe.label_smoothing=1.5", "between 0 and 1"]),
        ({"ema_decay": 1.0}, ["recipe.ema_decay=1.0", "1 excluded"]),
        ({"drop_path_rate": -0.1}, ["recipe.drop_path_rate=-0.1"]),
        ({"clip_gradient_norm": 0.0}, ["recipe.clip_gradient_norm=0.0", "positive"]),
        ({"random_crop_scale": (0.5, 2.0)}, ["recipe.random_crop_scale", "whole image"]),
        ({"random_crop_ratio": (2.0, 0.5)}, ["recipe.random_crop_ratio", "rising"]),
        ({"schedule": "cosin"}, ["recipe.schedule='cosin'", "cosine_after_warmup"]),
        ({"optimizer": "adamv"}, ["recipe.optimizer='adamv'", "adamw"]),
        ({"optimizer_options": {"beta": 0.9}}, ["recipe.optimizer_options", "beta"]),
        ({"random_augment": "rnd-m9"}, ["recipe.random_augment='rnd-m9'"]),
    ],
)
def test_refusals(changes, words):
    with pytest.raises(ValueError, match="recipe") as refusal:
        check_recipe(recipe_settings(**changes))
    for word in words:
        assert word in str(refusal.value)
