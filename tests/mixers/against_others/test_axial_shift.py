"""Axial shift in PyTorch's functions for maps channels first: a shift is a depth-wise convolution with a single one."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers import build_mixer

from ..cases import random_map, randomise


def convolved(x: Tensor, shift_size: int, axis: int) -> Tensor:
    """B, C, H, W; every group of channels is moved by what its place among the groups says."""
    kernels = []
    for number, group in enumerate(x.chunk(shift_size, 1)):
        kernel = F.one_hot(torch.tensor(shift_size - 1 - number), shift_size).to(x.dtype)
        kernels.append(kernel.expand(group.shape[1], 1, -1))
    weights = torch.cat(kernels).unsqueeze(axis)
    return F.conv2d(x, weights, padding=tuple(side // 2 for side in weights.shape[2:]), groups=x.shape[1])


def product(x: Tensor, layer: nn.Linear) -> Tensor:
    return F.conv2d(x, layer.weight[..., None, None], layer.bias)


@pytest.mark.parametrize(("dim", "shift_size"), [(10, 5), (12, 5), (9, 3), (14, 7)])
def test_equals_convolutions(dim: int, shift_size: int) -> None:
    mixer = randomise(build_mixer("axial_shift", dim, (7, 6), shift_size=shift_size).double(), seed=0)
    inputs = [random_map(7, 6, batch=2, dim=dim).requires_grad_() for _ in range(2)]
    x = F.gelu(mixer.input_norm(product(inputs[1].permute(0, 3, 1, 2), mixer.input_proj)))
    across = F.gelu(product(convolved(x, shift_size, 2), mixer.horizontal))
    down = F.gelu(product(convolved(x, shift_size, 3), mixer.vertical))
    wanted = product(mixer.output_norm(across + down), mixer.output_proj).permute(0, 2, 3, 1)
    output = mixer(inputs[0])
    torch.testing.assert_close(output, wanted, rtol=1e-12, atol=1e-12)
    cotangent = random_map(7, 6, batch=2, dim=dim, seed=3)
    gradients = [torch.autograd.grad(y, leaf, cotangent)[0] for y, leaf in zip((output, wanted), inputs, strict=True)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
