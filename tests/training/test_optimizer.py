"""Which parameters decay."""

import re

import pytest
import torch
from torch import nn

from tests.training.examples import recipe_settings
from training.optimizer import build_optimizer, parameter_groups


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.layer_scale = nn.Parameter(torch.ones(4))
        self.relative_position_bias_table = nn.Parameter(torch.ones(9, 2))
        self.class_token = nn.Parameter(torch.ones(1, 1, 4))
        self.frozen = nn.Parameter(torch.ones(4, 4), requires_grad=False)

    def no_weight_decay(self):
        return {"class_token"}


def names_by_decay(recipe):
    network = Network()
    name_of = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        group["weight_decay"]: [name_of[id(parameter)] for parameter in group["params"]]
        for group in parameter_groups(network, recipe)
    }


def test_matrices_decay_and_vectors_biases_and_the_networks_own_do_not():
    assert names_by_decay(recipe_settings(weight_decay=0.05)) == {
        0.05: ["relative_position_bias_table", "linear.weight"],
        0.0: ["layer_scale", "class_token", "linear.bias", "norm.weight", "norm.bias"],
    }


def test_patterns_of_the_recipe_win_over_the_rule():
    recipe = recipe_settings(weight_decay=0.05, no_decay=["*relative_position_bias_table"], decay=["*layer_scale"])
    assert names_by_decay(recipe)[0.05] == ["layer_scale", "linear.weight"]


@pytest.mark.parametrize("key", ["decay", "no_decay"])
@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("*relative_position_bias_tabel", "the nearest are relative_position_bias_table"),
        ("linear", "the nearest are linear.bias, linear.weight"),
        ("*pe.*", "names end in bias, class_token, frozen, layer_scale, relative_position_bias_table, weight"),
    ],
)
def test_a_pattern_without_effect_is_refused(key, pattern, words):
    with pytest.raises(ValueError, match=re.escape(f"recipe.{key}: {pattern!r} matches no whole name")) as refusal:
        parameter_groups(Network(), recipe_settings(**{key: ["*layer_scale", pattern]}))
    assert words in str(refusal.value)


def test_no_weight_decay_at_all_is_a_single_kind():
    assert set(names_by_decay(recipe_settings(weight_decay=0.0))) == {0.0}


def test_the_optimizer_gets_groups_options_and_peak():
    recipe = recipe_settings(optimizer_options={"betas": [0.8, 0.95], "eps": 1e-6}, learning_rate=0.3)
    optimizer = build_optimizer(Network(), recipe)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [recipe.weight_decay, 0.0]
    for group in optimizer.param_groups:
        assert (tuple(group["betas"]), group["eps"], group["lr"]) == ((0.8, 0.95), 1e-6, 0.3)


def test_an_option_the_optimizer_does_not_take_is_an_error():
    with pytest.raises(TypeError, match="betass"):
        build_optimizer(Network(), recipe_settings(optimizer_options={"betass": [0.9, 0.99]}))


class Layered(nn.Module):
    """A stem, two blocks and a head, as timm is told."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(4, 4), nn.Linear(4, 2)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    def group_matcher(self, coarse=False):
        return {"stem": r"^stem", "blocks": r"^blocks\.(\d+)"}


def test_each_layer_learns_slower_than_the_one_above_it():
    network = Layered()
    groups = parameter_groups(network, recipe_settings(layer_decay=0.5, weight_decay=0.1))
    scales = {id(member): group["lr_scale"] for group in groups for member in group["params"]}
    expected = {"head": 1.0, "blocks.1": 0.5, "blocks.0": 0.25, "stem": 0.125}
    for name, parameter in network.named_parameters():
        assert scales[id(parameter)] == expected[name.rpartition(".")[0]]
    assert sorted(group["weight_decay"] for group in groups) == [0.0] * 4 + [0.1] * 4


def test_a_layer_decay_needs_layers():
    with pytest.raises(ValueError, match=r"recipe.layer_decay=0.5: this network does not say what its layers are"):
        parameter_groups(Network(), recipe_settings(layer_decay=0.5))


def test_one_pass_over_memory_gives_the_update_of_many():
    results = []
    for options in ({}, {"fused": False}):
        torch.manual_seed(0)
        network = Layered()
        optimizer = build_optimizer(network, recipe_settings(optimizer_options=options, learning_rate=0.1))
        assert optimizer.defaults["fused"] == (not options)
        for _ in range(3):
            optimizer.zero_grad()
            network.head(network.stem(torch.ones(2, 4))).square().sum().backward()
            optimizer.step()
        results.append(network.stem.weight.detach())
    assert torch.allclose(*results, rtol=1e-5)
