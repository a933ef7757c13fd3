"""Who replaces batch norms, to synchronise or to freeze them, finds what PyTorch's and timm's functions expect."""

import pytest
import torch
from timm.utils import freeze, unfreeze
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .networks import logits
from .small import images, small_network

NETWORKS = (
    *("shifted_window", "dynamic_depthwise_conv", "inhomogeneous_dynamic_depthwise_conv"),
    *("dwnet", "dynamic dwnet", "inhomogeneous dwnet", "contnet", "conformer"),
)


def trained_network(name: str) -> nn.Module:
    """With statistics that are not those of the beginning."""
    network = small_network(name)
    with torch.no_grad():
        network.train()(images(4))
    return network


def statistics(network: nn.Module) -> list[Tensor]:
    return [buffer.clone() for key, buffer in network.named_buffers() if "running" in key]


@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_converted_to_synchronised_ones(name: str) -> None:
    network, converted = trained_network(name), trained_network(name)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(converted)
    assert any(isinstance(module, nn.SyncBatchNorm) for module in converted.modules())
    for training in (False, True):
        want, found = (logits(each.train(training)(images(4))) for each in (network, converted))
        torch.testing.assert_close(found, want)
    for found, want in zip(statistics(converted), statistics(network), strict=True):
        torch.testing.assert_close(found, want)


@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_frozen_and_released_as_timm_does_it(name: str) -> None:
    network = trained_network(name)
    want = network.eval()(images(4)).detach()
    before = statistics(network)
    freeze(network)
    assert not any(isinstance(module, _BatchNorm) for module in network.modules())
    found = network(images(4))
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)
    assert not found.requires_grad
    network.train()(images(4, seed=1))
    assert all(torch.equal(*pair) for pair in zip(statistics(network), before, strict=True))
    unfreeze(network)
    torch.testing.assert_close(network.eval()(images(4)), want, rtol=1e-4, atol=1e-5)
    assert network.train()(images(4))[0].requires_grad
