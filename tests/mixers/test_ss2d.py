"""How SS2D starts to learn: its authors' steps and rates, which a network's initial weights leave as they are."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from architectures import NetworkSpec, build_network
from mixers import build_mixer
from mixers.ss2d import SS2D
from training.optimizer import decays

from ..training.examples import recipe_settings


def from_a_network() -> SS2D:
    torch.manual_seed(0)
    spec = NetworkSpec(mixer="ss2d", scale="tiny", budget="shape", mixer_options={"states": 4})
    return build_network(spec).stages[2].blocks[0].mixer


def alone() -> SS2D:
    torch.manual_seed(0)
    return build_mixer("ss2d", 384, (14, 14), states=4)


def assert_uniform(values: Tensor, low: float, high: float) -> None:
    """Between the two, with the mean and the deviation of a uniform distribution."""
    width = high - low
    assert low - 1e-4 * width <= values.min() <= low + 0.05 * width
    assert high - 0.05 * width <= values.max() <= high + 1e-4 * width
    assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * width)
    assert values.std() == pytest.approx(width / math.sqrt(12), rel=0.05)


@pytest.mark.parametrize("built", [from_a_network, alone])
def test_initial_steps_and_rates_are_the_authors(built: object) -> None:
    mixer = built()
    with torch.no_grad():
        assert_uniform(F.softplus(mixer.dt_bias).log(), math.log(1e-3), math.log(1e-1))
        assert_uniform(mixer.dt_weight, -(mixer.rank**-0.5), mixer.rank**-0.5)
        assert_uniform(mixer.x_proj.weight, -(mixer.inner**-0.5), mixer.inner**-0.5)
        assert_uniform(mixer.conv.weight, -1 / 3, 1 / 3)
        torch.testing.assert_close(mixer.A_log.exp(), torch.arange(1.0, 5).expand(4, mixer.inner, 4))
        assert (mixer.D == 1).all()
        for layer in (mixer.in_proj, mixer.out_proj):
            assert layer.weight.std() == pytest.approx(0.02, rel=0.03)


def test_what_decays_is_what_decayed_in_the_published_training() -> None:
    spec = NetworkSpec(mixer="ss2d", scale="micro", budget="shape")
    with torch.device("meta"):
        network = build_network(spec)
    place = "stages.0.blocks.0.mixer."
    decaying = {
        name.removeprefix(place)
        for name, parameter in network.named_parameters()
        if name.startswith(place) and decays(name, parameter, recipe_settings(), network.no_weight_decay())
    }
    layers = {f"{layer}.weight" for layer in ("in_proj", "conv", "x_proj", "out_proj")}
    assert decaying == layers | {"dt_weight", "dt_bias", "A_log"}
