"""Softmax over a short axis: the numbers of PyTorch's, with its gradients, as an operator and elsewhere."""

import pytest
import torch
from torch import Tensor

from mixers.kernels.softmax import softmax
from mixers.kernels.softmax.cpp_kernels import LONGEST

OPERATORS = torch.ops.stmbench
SHAPES = [(5, 9), (2, 3, 4, 7, 9), (33, 1), (16, LONGEST), (0, 9), (3000, 25)]


def scores(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (3 * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_is_softmax_with_its_gradient(shape: tuple[int, ...], dtype: torch.dtype, tolerance: float) -> None:
    x = scores(*shape, dtype=dtype)
    ours, wanted = OPERATORS.softmax(x), x.double().softmax(-1)
    torch.testing.assert_close(ours.double(), wanted, rtol=10 * tolerance, atol=tolerance)
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (of_ours,) = torch.autograd.grad(ours, x, grad.to(dtype))
    (of_wanted,) = torch.autograd.grad(wanted, x, grad)
    torch.testing.assert_close(of_ours, of_wanted, rtol=100 * tolerance, atol=10 * tolerance)


def test_extremes() -> None:
    inf, nan = torch.inf, torch.nan
    x = torch.tensor([[1e4, -1e4, 0.0], [-inf, 0.0, 1.0], [0.0, nan, 1.0], [1e-30, 0.0, -90.0]])
    torch.testing.assert_close(softmax(x, torch.float32), x.softmax(-1), equal_nan=True, rtol=1e-5, atol=1e-30)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
def test_operators_keep_pytorchs_rules() -> None:
    x = scores(3, 4, 9)
    torch.library.opcheck(OPERATORS.softmax.default, (x,))
    output = x.detach().softmax(-1).requires_grad_()
    torch.library.opcheck(OPERATORS.softmax_backward.default, (torch.randn_like(x), output))
    assert torch.autograd.gradgradcheck(OPERATORS.softmax, x)


def test_casts_as_asked_and_leaves_other_programs_pytorchs_own() -> None:
    half = scores(3, 9, dtype=torch.bfloat16)
    assert softmax(half, torch.float32).dtype == torch.float32
    torch.testing.assert_close(softmax(half, torch.float32), half.softmax(-1, torch.float32))
    assert softmax(half, torch.bfloat16).dtype == torch.bfloat16
    x = scores(3, 9).detach()
    torch.testing.assert_close(torch.func.vmap(lambda x: softmax(x, x.dtype))(x), x.softmax(-1))

    class Layer(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return softmax(x, x.dtype)

    assert "stmbench" not in str(torch.export.export(Layer(), (x,)).graph)
