"""The filter in the frequency domain as an operator of PyTorch; its numbers are held by the mixer's tests as well."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mixers.kernels.spectral_filter import plain_spectral_filter, spectral_filter
from mixers.kernels.used import used_implementations

OPERATORS = torch.ops.stmbench


def inputs_of(rows: int = 5, columns: int = 6, channels: int = 3, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((batch, rows, columns, channels), (rows, columns // 2 + 1, channels, 2))
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 2), (6, 7), (9, 8)])
def test_operator_and_its_derivative_are_the_plain_form(size: tuple[int, int]) -> None:
    results = []
    for function in (spectral_filter, plain_spectral_filter):
        inputs = inputs_of(*size)
        output = function(*inputs)
        results.append((output, *torch.autograd.grad(output.square().sum(), inputs)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_second_derivatives() -> None:
    assert torch.autograd.gradgradcheck(spectral_filter, inputs_of(3, 4, 2), fast_mode=True)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
def test_operators_keep_pytorchs_rules() -> None:
    x, filter = inputs_of()
    torch.library.opcheck(OPERATORS.spectral_filter.default, (x, filter))
    torch.library.opcheck(OPERATORS.spectral_filter_backward.default, (torch.randn_like(x), x, filter))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_halves_are_transformed_in_float32(dtype: torch.dtype) -> None:
    x, filter = (tensor.detach().to(dtype) for tensor in inputs_of(7, 7))
    output = spectral_filter(x, filter)
    assert output.dtype == dtype
    assert torch.equal(output, plain_spectral_filter(x.float(), filter.float()).to(dtype))


def test_empty_batches_are_empty() -> None:
    x, filter = inputs_of(batch=0)
    spectral_filter(x, filter).sum().backward()
    assert not filter.grad.any()


def test_the_papers_products_are_counted_and_the_code_is_noted() -> None:
    x, filter = inputs_of(5, 6, 3, 2)
    with FlopCounterMode(display=False) as counter, used_implementations() as used:
        spectral_filter(x, filter).sum().backward()
    forward = 2 * 2 * 3 * 30 * (5 + 1)  # log2(30) is 4.9
    counts = counter.get_flop_counts()["Global"]
    assert counts[OPERATORS.spectral_filter] == forward
    assert counts[OPERATORS.spectral_filter_backward] == 2 * forward
    assert used == {("spectral_filter", "reference")}


def test_wrong_shapes_are_refused() -> None:
    x, filter = inputs_of()
    with pytest.raises(
        ValueError, match=r"filter \(5, 3, 3, 2\) must be H, W // 2 \+ 1, C, 2 for a map B, H, W, C of \(2, 5, 6, 3\)"
    ):
        spectral_filter(x, filter[:, 1:])
