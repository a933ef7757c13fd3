"""The weighted sum of neighbours: the operator against its plain form, and what PyTorch's machinery sees of it."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mixers.kernels.involution import involution, plain_involution

OPERATORS = torch.ops.stmbench
# (batch, rows, columns, groups, channels of a group, kernel size); the last maps are smaller than the kernel.
SHAPES = [(2, 6, 5, 3, 2, 3), (1, 9, 11, 2, 5, 7), (3, 7, 7, 1, 4, 1), (1, 2, 3, 4, 1, 5), (2, 1, 1, 2, 3, 7)]


def operands(
    batch: int, rows: int, columns: int, groups: int, width: int, size: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    torch.manual_seed(rows * columns)
    value = torch.randn(batch, rows, columns, groups * width, dtype=dtype)
    kernels = torch.randn(batch, rows, columns, groups * size**2, dtype=dtype)
    return value.requires_grad_(), kernels.requires_grad_()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_plain_form_forward_and_backward(shape: tuple[int, ...]) -> None:
    value, kernels = operands(*shape, dtype=torch.float64)
    ours, plain = (form(value, kernels, shape[-1]) for form in (involution, plain_involution))
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    upstream = torch.randn_like(ours)
    grads = (torch.autograd.grad(output, (value, kernels), upstream) for output in (ours, plain))
    for ours_grad, plain_grad in zip(*grads, strict=True):
        torch.testing.assert_close(ours_grad, plain_grad, rtol=1e-12, atol=1e-12)


def test_first_and_second_derivatives_are_the_numerical_ones() -> None:
    inputs = operands(1, 3, 4, 2, 2, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *tensors: involution(*tensors, 3), inputs)
    assert torch.autograd.gradgradcheck(lambda *tensors: involution(*tensors, 3), inputs)


@pytest.mark.parametrize("layout", ["transposed", "every second"])
def test_takes_tensors_that_are_not_contiguous(layout: str) -> None:
    value, kernels = (tensor.detach() for tensor in operands(2, 6, 6, 2, 2, 3, dtype=torch.float64))
    if layout == "transposed":
        value, kernels = value.transpose(1, 2), kernels.transpose(1, 2)
    else:
        value, kernels = value[:, ::2], kernels[:, ::2]
    torch.testing.assert_close(involution(value, kernels, 3), plain_involution(value, kernels, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_loses_only_the_last_rounding(dtype: torch.dtype) -> None:
    value, kernels = (tensor.detach().to(dtype) for tensor in operands(1, 8, 8, 2, 3, 7, dtype=torch.float32))
    exact = plain_involution(value.double(), kernels.double(), 7)
    output = involution(value, kernels, 7)
    assert output.dtype == dtype
    torch.testing.assert_close(output, exact.to(dtype))


def test_an_empty_batch_stays_empty() -> None:
    value, kernels = operands(0, 4, 4, 2, 2, 3, dtype=torch.float32)
    output = involution(value, kernels, 3)
    output.sum().backward()
    assert output.shape == value.grad.shape == (0, 4, 4, 4)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
def test_operators_keep_pytorchs_rules() -> None:
    """Schema, autograd registration, shapes without data, and tracing with sizes that vary."""
    value, kernels = operands(2, 6, 5, 2, 2, 3, dtype=torch.float32)
    torch.library.opcheck(OPERATORS.involution.default, (value, kernels, 3))
    grad = torch.randn_like(value)
    torch.library.opcheck(OPERATORS.involution_backward.default, (grad, value, kernels, 3))


def test_a_counter_sees_one_product_a_neighbour_and_channel_and_twice_that_backward() -> None:
    value, kernels = operands(2, 6, 5, 2, 3, 3, dtype=torch.float32)
    with FlopCounterMode(display=False) as counter:
        involution(value, kernels, 3).sum().backward()
    forward = 2 * value.numel() * 9
    assert counter.get_flop_counts()["Global"] == {
        OPERATORS.involution: forward,
        OPERATORS.involution_backward: 2 * forward,
    }


@pytest.mark.parametrize(
    ("value", "kernels", "size"),
    [((1, 4, 4, 6), (1, 4, 5, 18), 3), ((1, 4, 4, 6), (1, 4, 4, 17), 3), ((1, 4, 4, 6), (1, 4, 4, 36), 3),
     ((1, 4, 4, 6), (1, 4, 4, 8), 2), ((4, 4, 6), (4, 4, 18), 3)],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_named(value: tuple[int, ...], kernels: tuple[int, ...], size: int) -> None:
    with pytest.raises(ValueError, match="involution: kernels") as error:
        involution(torch.zeros(value), torch.zeros(kernels), size)
    assert str(value) in str(error.value)
    assert str(kernels) in str(error.value)
