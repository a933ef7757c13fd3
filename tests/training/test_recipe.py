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
        ({"random_augment": "rnd-m9"}, ["recipe.random_augment='rnd-m9'", "'rnd' is not rand"]),
        ({"random_augment": "rand-zzz"}, ["recipe.random_augment='rand-zzz'", "'zzz' is unknown"]),
        ({"random_augment": "rand-m9-"}, ["'' is unknown"]),
        ({"random_augment": "rand-m9.5"}, ["'m9.5' is unknown"]),
        ({"random_augment": "rand-m11"}, ["m11 exceeds its bound 10"]),
        ({"random_augment": "rand-m9-m9"}, ["'m9' is given before"]),
        ({"random_augment": "rand-w0"}, ["'w0' is unknown"]),
        ({"random_augment": "rand-inc2"}, ["'inc2' is unknown"]),
        ({"random_augment": "rand-n0"}, ["n0 applies nothing"]),
        ({"random_augment": "rand-p0.0"}, ["p0.0 is no share"]),
        ({"random_augment": "rand-tmine"}, ["'tmine' is unknown"]),
        ({"random_augment": "rand-t3aw-n15"}, ["n15 are more than there are"]),
    ],
)
def test_refusals(changes, words):
    with pytest.raises(ValueError, match="recipe") as refusal:
        check_recipe(recipe_settings(**changes))
    for word in words:
        assert word in str(refusal.value)


@pytest.mark.parametrize(
    "notation",
    [
        "rand",
        "rand-m9-mstd0.5-inc1",
        "rand-m20-mmax30-n3-p0.5",
        "rand-mstd101-tweights",
        "rand-m5-t3a-n20",
        "rand-inc0",
    ],
)
def test_what_timm_acts_on_is_accepted(notation):
    check_recipe(recipe_settings(random_augment=notation))
