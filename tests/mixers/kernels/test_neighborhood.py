"""Attention to the nearest pixels: the operator against its plain form, and what PyTorch's machinery sees of it.

That the plain form is right is seen in tests/mixers, pixel by pixel.
"""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mixers.kernels import neighborhood
from mixers.kernels.neighborhood import neighborhood_attention, plain_neighborhood_attention

OPERATORS = torch.ops.stmbench
# (batch, rows, columns, heads, channels of a head, kernel size); some maps are smaller than the kernel.
SHAPES = [(2, 6, 8, 3, 2, 3), (1, 9, 11, 2, 5, 7), (3, 7, 7, 1, 4, 1), (1, 2, 3, 4, 1, 5), (2, 1, 10, 2, 3, 7)]


def operands(
    batch: int, rows: int, columns: int, heads: int, width: int, size: int, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(rows * columns)
    shapes = [(batch, rows, columns, heads, width)] * 3 + [(heads, 2 * size - 1, 2 * size - 1)]
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("most_scores", [2**25, 1], ids=["at once", "in bands"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_plain_form_forward_and_backward(
    shape: tuple[int, ...], most_scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = operands(*shape)
    plain = plain_neighborhood_attention(*inputs, shape[-1])
    monkeypatch.setattr(neighborhood, "MOST_SCORES", most_scores)
    ours = neighborhood_attention(*inputs, shape[-1])
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    upstream = torch.randn_like(ours)
    grads = (torch.autograd.grad(output, inputs, upstream) for output in (ours, plain))
    for ours_grad, plain_grad in zip(*grads, strict=True):
        torch.testing.assert_close(ours_grad, plain_grad, rtol=1e-11, atol=1e-11)


def test_first_and_second_derivatives_are_the_numerical_ones() -> None:
    inputs = operands(1, 4, 5, 2, 1, 3)
    assert torch.autograd.gradcheck(lambda *tensors: neighborhood_attention(*tensors, 3), inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda *tensors: neighborhood_attention(*tensors, 3), inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_stays_close_forward_and_backward(dtype: torch.dtype) -> None:
    exact = operands(1, 8, 9, 2, 4, 5)
    rounded = [tensor.detach().to(dtype).requires_grad_() for tensor in exact]
    outputs = [neighborhood_attention(*inputs, 5) for inputs in (exact, rounded)]
    assert outputs[1].dtype == dtype
    cotangent = torch.randn_like(outputs[0])
    grads = [torch.autograd.grad(y, x, cotangent.to(y.dtype)) for y, x in zip(outputs, (exact, rounded), strict=True)]
    for wanted, got in zip((outputs[0], *grads[0]), (outputs[1], *grads[1]), strict=True):
        assert (got - wanted).abs().max() <= 0.02 * wanted.abs().max()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
def test_operators_keep_pytorchs_rules() -> None:
    """Schema, autograd registration and shapes without data; forward, also tracing with sizes that vary."""
    inputs = operands(2, 6, 5, 2, 2, 3, dtype=torch.float32)
    torch.library.opcheck(OPERATORS.neighborhood_attention.default, (*inputs, 3))
    grad = torch.randn_like(inputs[0])
    quick = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(OPERATORS.neighborhood_attention_backward.default, (grad, *inputs, 3), test_utils=quick)


def test_a_counter_sees_the_products_with_each_pixels_own_keys() -> None:
    inputs = operands(2, 10, 2, 3, 4, 5, dtype=torch.float32)
    with FlopCounterMode(display=False) as counter:
        neighborhood_attention(*inputs, 5).sum().backward()
    product = 2 * inputs[0].numel() * 5 * 2
    assert counter.get_flop_counts()["Global"] == {
        OPERATORS.neighborhood_attention: 2 * product,
        OPERATORS.neighborhood_attention_backward: 5 * product,
    }


@pytest.mark.parametrize(
    ("query", "bias", "size"),
    [((1, 4, 4, 2, 3), (2, 5, 5), 2), ((1, 4, 4, 2, 3), (3, 5, 5), 3), ((4, 4, 2, 3), (2, 5, 5), 3)],
)
def test_shapes_that_do_not_fit_are_named(query: tuple[int, ...], bias: tuple[int, ...], size: int) -> None:
    with pytest.raises(ValueError, match="neighborhood attention: query, key and value must be") as error:
        neighborhood_attention(*(torch.zeros(query) for _ in range(3)), torch.zeros(bias), size)
    assert str(query) in str(error.value)
    assert str(bias) in str(error.value)
