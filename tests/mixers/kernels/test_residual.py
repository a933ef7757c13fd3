"""The residual connection's C++ kernel: the sum in float64, with its gradients, where it computes now, only there."""

import pytest
import torch
from torch import Tensor

from mixers.kernels import elementwise
from mixers.kernels.residual import function, residual, takes_residual

SHAPES = [(2, 28, 28, 96), (3, 29, 31, 13), (16, 4, 16, 16), (2, 3, 3, 5), (0, 7, 7, 8)]
GIVEN = [(False, False), (True, False), (False, True), (True, True)]


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plainly(x: Tensor, branch: Tensor, scale: Tensor | None, keep: Tensor | None) -> Tensor:
    factor = torch.ones((), dtype=x.dtype)
    factor = factor if scale is None else factor * scale
    return x + branch * (factor if keep is None else factor * keep[:, None, None, None])


def case(shape: tuple[int, ...], scaled: bool, kept: bool) -> list[Tensor | None]:
    tensors = [numbers(*shape, seed=0), numbers(*shape, seed=1), numbers(shape[-1], seed=2) if scaled else None]
    tensors = [tensor if tensor is None else tensor.requires_grad_() for tensor in tensors]
    return [*tensors, (numbers(shape[0], seed=3) > 0) / 0.75 if kept else None]


def doubled(tensors: list[Tensor | None]) -> list[Tensor | None]:
    return [None if t is None else t.detach().double().requires_grad_(t.requires_grad) for t in tensors]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("scaled", "kept"), GIVEN)
def test_is_the_sum_with_its_gradients(shape: tuple[int, ...], scaled: bool, kept: bool) -> None:
    ours = case(shape, scaled, kept)
    exact = doubled(ours)
    assert takes_residual(*ours) == (ours[0].numel() >= elementwise.FEWEST)
    output, wanted = residual(*ours), plainly(*exact)
    torch.testing.assert_close(output, wanted.float(), rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(residual(*ours), output, rtol=0, atol=0)
    grad = numbers(*shape, seed=4)
    of_ours = torch.autograd.grad(output, [t for t in ours[:3] if t is not None], grad)
    of_exact = torch.autograd.grad(wanted, [t for t in exact[:3] if t is not None], grad.double())
    for ours_grad, exact_grad in zip(of_ours, of_exact, strict=True):
        torch.testing.assert_close(ours_grad, exact_grad.float(), rtol=1e-4, atol=1e-4)


def test_gradients_do_not_depend_on_threads() -> None:
    x, branch, scale, keep = case((3, 29, 31, 13), True, True)
    threads, sums = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            sums += torch.autograd.grad(residual(x, branch, scale, keep).square().sum(), scale)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(sums[0], sums[1])
    assert torch.equal(sums[0], sums[2])


def test_second_derivatives_are_those_of_the_plain_sum() -> None:
    inputs = case((2, 28, 28, 96), True, True)
    seconds = []
    for connection, given in ((residual, inputs), (plainly, doubled(inputs))):
        first = torch.autograd.grad(connection(*given).pow(3).sum(), given[:3], create_graph=True)
        seconds.append(torch.autograd.grad(sum(grad.square().sum() for grad in first), given[:3]))
    for ours, exact in zip(*seconds, strict=True):
        assert (ours - exact).abs().max() < 1e-5 * exact.abs().max()


def test_any_strides_and_a_frozen_scale() -> None:
    x, branch = (numbers(2, 64, 30, 29, seed=seed).permute(0, 2, 3, 1)[..., ::2].requires_grad_() for seed in (0, 1))
    scale = numbers(32, seed=2)
    output, wanted = residual(x, branch, scale), plainly(x, branch, scale, None)
    torch.testing.assert_close(output, wanted)
    pairs = zip(*(torch.autograd.grad(y.square().sum(), (x, branch)) for y in (output, wanted)), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("strided", ["gradient", "branch", "scale", "keep"])
def test_memory_that_a_reshape_leaves_as_it_is(strided: str) -> None:
    """Expanded gradients, and views with gaps whose rows and columns can still be joined."""
    x, branch, scale, keep = case((4, 28, 28, 32), True, True)
    if strided == "branch":
        branch = numbers(4, 28, 28, 64, seed=1)[..., ::2].requires_grad_()
    elif strided == "scale":
        scale = numbers(1, seed=2).expand(32)
    elif strided == "keep":
        keep = keep.repeat_interleave(2)[::2]
    given = [tensor for tensor in (x, branch, scale) if tensor.requires_grad]
    pairs = []
    for connection in (residual, plainly):
        output = connection(x, branch, scale, keep)
        grad = torch.full((1,), 2.0).expand(output.shape) if strided == "gradient" else torch.full_like(output, 2.0)
        pairs.append((output, *torch.autograd.grad(output, given, grad)))
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("why", ["no compiler", "autocast", "float64", "vmap"])
def test_elsewhere_pytorch_computes_it(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = case((2, 28, 28, 96), True, True)
    wanted = plainly(*inputs)

    def refuse(*_: object) -> None:
        raise AssertionError("residual.cpp was called")

    monkeypatch.setattr(function, "write_residual", refuse)
    if why == "no compiler":
        monkeypatch.setattr(elementwise, "runs_on_cpu", lambda source: False)
        ours = residual(*inputs)
    elif why == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            ours = residual(*inputs)
    elif why == "float64":
        ours = residual(*doubled(inputs)).float()
    else:
        x, branch, scale, keep = inputs
        ours = torch.func.vmap(lambda x, y: residual(x[None], y[None], scale)[0])(x, branch * keep[:, None, None, None])
    torch.testing.assert_close(ours, wanted)
