"""The values in conf/ are complete, of the right types, and those of the papers."""

import dataclasses
import re
import subprocess
import sys

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, ValidationError

from tests.training.examples import CONF, data_settings, recipe_settings
from training.data import check_data
from training.recipe import check_recipe
from training.settings import DataSettings, RecipeSettings

DATA = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))
RECIPES = sorted(path.stem for path in (CONF / "recipe").glob("*.yaml"))


def test_settings_import_neither_torch_nor_timm():
    code = "import sys, training.settings; print(sorted({'torch', 'timm', 'omegaconf'} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize(
    ("group", "name", "kind"),
    [("data", n, DataSettings) for n in DATA] + [("recipe", n, RecipeSettings) for n in RECIPES],
)
def test_every_file_sets_every_field_with_its_type(group, name, kind):
    values = OmegaConf.load(CONF / group / f"{name}.yaml")
    fields = dataclasses.fields(kind)
    optional = {field.name for field in fields if field.default_factory is not dataclasses.MISSING}
    assert optional <= {"options"}  # of few sources; whatever else has a value has it in conf/, once
    assert {field.name for field in fields} - optional <= set(values) <= {field.name for field in fields}
    assert values.name == name
    typed = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), values))
    assert typed == kind(**OmegaConf.to_object(values))


def test_misspelt_keys_and_wrong_types_are_refused():
    schema = OmegaConf.structured(RecipeSettings)
    with pytest.raises(ConfigKeyError, match="epoch"):
        OmegaConf.merge(schema, {"epoch": 3})
    with pytest.raises(ValidationError, match="many"):
        OmegaConf.merge(schema, {"epochs": "many"})


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_possible_and_say_where_they_come_from(name):
    check_recipe(recipe_settings(name))
    header = re.match(r"(#.*\n)+", (CONF / "recipe" / f"{name}.yaml").read_text())[0]
    for word in ("# Source: ", "# Expected: ", "# Cost: ", "# Command: python run.py "):
        assert word in header
    assert f"recipe={name}" in header


@pytest.mark.parametrize(("name", "classes"), [("digits", 10)])
def test_data_sets_that_come_along_are_ready(name, classes):
    check_data(data_settings(name))
    assert data_settings(name).num_classes == classes


def test_the_unified_recipes_are_the_papers():
    """STM-Evaluation's transformer.sh and cnn.sh, which differ in five numbers."""
    attention, conv = recipe_settings("unified_attention"), recipe_settings("unified_conv")
    five = ("batch_size", "learning_rate", "warmup_learning_rate", "final_learning_rate")
    assert [getattr(attention, key) for key in five] == [1024, 1e-3, 1e-6, 1e-5]
    assert [getattr(conv, key) for key in five] == [4096, 4e-3, 0, 1e-6]
    for recipe in (attention, conv):
        assert (recipe.epochs, recipe.warmup_epochs, recipe.schedule) == (300, 20, "cosine_after_warmup")
        assert (recipe.optimizer, recipe.weight_decay, recipe.clip_gradient_norm) == ("adamw", 0.05, 5.0)
        assert recipe.optimizer_options == {"betas": [0.9, 0.999], "eps": 1e-8}
        assert (recipe.mixup, recipe.cutmix, recipe.mix_probability, recipe.cutmix_share) == (0.8, 1.0, 1.0, 0.5)
        assert (recipe.label_smoothing, recipe.random_erasing, recipe.ema_decay) == (0.1, 0.25, 0.9999)
        assert recipe.random_augment == "rand-m9-mstd0.5-inc1"
    same = {field.name for field in dataclasses.fields(RecipeSettings)} - {"name", *five}
    assert all(getattr(attention, key) == getattr(conv, key) for key in same)
