"""Involution is the inhomogeneous dynamic depth-wise convolution, with other defaults."""

import pytest
import torch

from .cases import Case, random_map


@pytest.mark.parametrize("training", [False, True])
def test_equals_the_inhomogeneous_dynamic_convolution(training: bool) -> None:
    """The generator's first layer lacks a bias, which the norm behind it would take away again."""
    involution = Case({"group_channels": 4}, mixer="involution").build().train(training)
    options = {"group_channels": 4, "projection": False}
    other = Case(options, mixer="inhomogeneous_dynamic_depthwise_conv").build().train(training)
    other.load_state_dict(involution.state_dict() | {"conv1.bias": torch.zeros(2, dtype=torch.float64)})
    x = random_map(9, 10, batch=3)
    output = involution(x)
    assert torch.equal(output, other(x))
    assert output.abs().max() > 1


def test_defaults_are_the_authors() -> None:
    """16 channels share a kernel of 7 x 7, which a quarter of the channels generates."""
    torch.manual_seed(0)
    mixer = Case({"group_channels": 4}, mixer="involution").build()
    for dim, group_channels in ((64, 16), (8, 8), (100, 10), (17, 1)):
        assert type(mixer).defaults(dim, 0, 0, {}) == {"group_channels": group_channels}
    mixer.init_weights()
    weight = mixer.conv2.weight
    assert float(weight.detach().std()) == pytest.approx((2 / weight.shape[0]) ** 0.5, rel=0.2)
    assert not mixer.conv2.bias.any()
