"""Convolutions of patches as linear layers: the numbers of `nn.Conv2d`, with its gradients."""

import pytest
import torch
from torch import Tensor, nn

from mixers.kernels import linear
from mixers.kernels.patches import PatchConv2d

CASES = [(4, (8, 12)), (3, (11, 7)), (1, (5, 6)), (8, (9, 23))]


@pytest.fixture(autouse=True)
def _whatever_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEWEST_MACS", 0)


def layer(patch_size: int) -> PatchConv2d:
    torch.manual_seed(0)
    return PatchConv2d(6, 10, patch_size)


def by_convolution(conv: PatchConv2d, x: Tensor) -> Tensor:
    return nn.Conv2d.forward(conv, x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@pytest.mark.parametrize(("patch_size", "resolution"), CASES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_is_the_convolution_with_its_gradients(
    patch_size: int, resolution: tuple[int, int], memory_format: torch.memory_format
) -> None:
    conv = layer(patch_size).to(memory_format=memory_format)
    x = torch.randn(2, *resolution, 6, requires_grad=True)
    assert linear.onednn_takes(x, conv.weight, conv.bias)
    outputs = conv(x), by_convolution(conv, x)
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    leaves = [x, conv.weight, conv.bias]
    grad = torch.randn_like(outputs[0])
    gradients = [torch.autograd.grad(output, leaves, grad) for output in outputs]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(conv(x), outputs[0], rtol=1e-4, atol=1e-5)


def test_changed_weights_are_seen_and_a_frozen_copy_keeps_its_own_order() -> None:
    conv, x = layer(4).eval(), torch.randn(2, 8, 8, 6)
    with torch.inference_mode():
        conv(x)
        assert torch.equal(conv.fuse()(x), conv(x))
    with torch.no_grad():
        conv.weight.mul_(2)
        torch.testing.assert_close(conv(x), by_convolution(conv, x), rtol=1e-4, atol=1e-5)


def test_in_float64_and_graphs_it_is_the_convolution() -> None:
    conv, x = layer(4), torch.randn(2, 8, 8, 6)
    exact = layer(4).double()
    torch.testing.assert_close(exact(x.double()), by_convolution(exact, x.double()), rtol=0, atol=0)
    assert "conv2d" in str(torch.export.export(conv, (x,)).graph)
