"""GELU's C++ kernel: the numbers of PyTorch's in float64, with its gradients, where and only where it computes now."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.kernels import elementwise
from mixers.kernels.gelu import function, gelu, gelu_and_gradients

SHAPES = [(2, 61, 59, 3), (5, 57, 64), (16384,), (3, 5), (0, 7), (129, 128)]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What gelu.cpp was called with."""
    seen: list[Tensor] = []
    real = function._forward
    monkeypatch.setattr(function, "_forward", lambda x: seen.append(x) or real(x))
    return seen


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_is_gelu_with_its_gradient(shape: tuple[int, ...], calls: list[Tensor]) -> None:
    x, grad = numbers(*shape).requires_grad_(), numbers(*shape, seed=1)
    exact = x.detach().double().requires_grad_()
    output, wanted = gelu(x), F.gelu(exact)
    assert len(calls) == (x.numel() >= elementwise.FEWEST)
    torch.testing.assert_close(output, wanted.float(), rtol=1e-6, atol=1e-6)
    (of_x,) = torch.autograd.grad(output, x, grad)
    (of_exact,) = torch.autograd.grad(wanted, exact, grad.double())
    torch.testing.assert_close(of_x, of_exact.float(), rtol=1e-5, atol=1e-5)


def test_is_as_exact_as_pytorchs_everywhere() -> None:
    x = torch.linspace(-12, 12, 200_003)
    wanted = F.gelu(x.double())
    error, theirs = ((function(x) - wanted).abs().max() for function in (gelu, F.gelu))
    assert error < 1.5 * theirs


def test_extremes() -> None:
    inf, nan = torch.inf, torch.nan
    x = torch.tensor([nan, inf, -40.0, 0.0, -0.0, 1e-30, 1e30]).repeat(elementwise.FEWEST)
    torch.testing.assert_close(gelu(x)[:7], torch.tensor([nan, inf, 0.0, 0.0, -0.0, 5e-31, 1e30]), equal_nan=True)


@pytest.mark.parametrize("shape", [(100, 384), (37, 13), (1, 5), (0, 8)], ids=str)
def test_output_gradient_and_its_sum_come_together(shape: tuple[int, int]) -> None:
    x, grad = numbers(*shape), numbers(*shape, seed=1)
    exact = x.double().requires_grad_()
    wanted = F.gelu(exact)
    (of_exact,) = torch.autograd.grad(wanted, exact, grad.double())
    output, of_x, sums = gelu_and_gradients(x, grad)
    torch.testing.assert_close(output, wanted.float(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(of_x, of_exact.float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sums, of_exact.sum(0).float(), rtol=1e-4, atol=1e-4)
    assert of_x.data_ptr() == grad.data_ptr()


def test_without_a_compiler_pytorchs_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, grad = numbers(130, 128), numbers(130, 128, seed=1)
    ours = gelu(x), *gelu_and_gradients(x, grad.clone())
    for module in (function, elementwise):
        monkeypatch.setattr(module, "runs_on_cpu", lambda source: False)
    plain = gelu(x), *gelu_and_gradients(x, grad.clone())
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_any_strides(memory_format: torch.memory_format) -> None:
    x = numbers(2, 3, 64, 65).to(memory_format=memory_format)[:, :, ::2]
    x = torch.cat([x, x]).to(memory_format=memory_format).requires_grad_()
    output = gelu(x)
    torch.testing.assert_close(output, F.gelu(x), rtol=1e-5, atol=1e-6)
    (of_x,) = torch.autograd.grad(output.sum(), x)
    torch.testing.assert_close(of_x, torch.ops.aten.gelu_backward(torch.ones_like(x), x), rtol=1e-5, atol=1e-5)


def test_second_derivative_is_pytorchs() -> None:
    x = numbers(129, 128).requires_grad_()
    seconds = []
    for activation in (gelu, F.gelu):
        (first,) = torch.autograd.grad(activation(x).square().sum(), x, create_graph=True)
        seconds += torch.autograd.grad(first.square().sum(), x)
    torch.testing.assert_close(*seconds, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated")
def test_graphs_transforms_and_autocast_get_pytorchs_own(calls: list[Tensor]) -> None:
    x = numbers(129, 128)
    torch.func.vmap(gelu)(x)
    torch.jit.trace(gelu, x, check_trace=False)
    with torch.autocast("cpu", torch.bfloat16):
        gelu(x)
    gelu(x.double())
    gelu(x.bfloat16())
    assert not calls
