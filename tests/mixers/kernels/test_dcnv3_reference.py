"""The reference against the definition: every pixel's share in every sample, written as tents."""

import pytest
import torch
from torch import Tensor

from mixers.kernels.dcnv3 import dcnv3

from .cases import CASES, Case


def by_tents(value: Tensor, offsets: Tensor, weights: Tensor, case: Case) -> Tensor:
    """A pixel's share in a sample falls linearly from 1 to 0 within a pixel's distance, by row and by column."""
    rows, columns = case.size
    centre = case.dilation * (case.kernel_size - 1) // 2
    steps = [
        (column * case.dilation - centre, row * case.dilation - centre)
        for column in range(case.kernel_size)
        for row in range(case.kernel_size)
    ]
    if case.remove_centre:
        steps.remove((0, 0))
    start = centre - case.padding
    moved = (torch.tensor(steps) + offsets) * case.offset_scale
    x = torch.arange(offsets.shape[2])[:, None, None] * case.stride + start + moved[..., 0]
    y = torch.arange(offsets.shape[1])[:, None, None, None] * case.stride + start + moved[..., 1]
    across = (1 - (x[..., None] - torch.arange(columns)).abs()).relu()
    down = (1 - (y[..., None] - torch.arange(rows)).abs()).relu()
    maps = value.unflatten(-1, (case.groups, case.width))
    return torch.einsum("bhwgd,brcgkh,brcgkw,brcgk->brcgd", maps, down, across, weights).flatten(-2)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_reference_is_the_definition(case: Case):
    inputs = case.tensors(torch.float64)
    output = dcnv3(*inputs, **case.options, implementation="reference")
    wanted = by_tents(*inputs, case)
    torch.testing.assert_close(output, wanted, rtol=1e-12, atol=1e-12)
    grad = torch.randn(output.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(
        torch.autograd.grad(output, inputs, grad), torch.autograd.grad(wanted, inputs, grad), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("implementation", ["reference", "auto"])
def test_points_are_numbered_column_by_column(implementation: str):
    """Point p of a 3 x 3 kernel, alone, shifts the map by p // 3 - 1 columns and p % 3 - 1 rows."""
    value = torch.randn(1, 6, 7, 4, dtype=torch.float64)
    padded = torch.nn.functional.pad(value, (0, 0, 1, 1, 1, 1))
    for p in range(9):
        weights = torch.zeros(1, 6, 7, 2, 9, dtype=torch.float64)
        weights[..., p] = 1
        offsets = torch.zeros(*weights.shape, 2, dtype=torch.float64)
        output = dcnv3(value, offsets, weights, kernel_size=3, padding=1, implementation=implementation)
        assert torch.equal(output, padded[:, p % 3 :, p // 3 :][:, :6, :7])


@pytest.mark.parametrize("implementation", ["reference", "auto"])
def test_gradients_of_first_and_second_order(implementation: str):
    case = Case("small", (2, 3), groups=2, width=2, kernel_size=2, batch=1)

    def call(*inputs: Tensor) -> Tensor:
        return dcnv3(*inputs, **case.options, implementation=implementation)

    inputs = case.tensors(torch.float64)
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)
