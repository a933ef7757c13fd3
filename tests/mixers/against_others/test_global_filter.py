"""A filter of frequencies is a circular convolution: with PyTorch's padding and convolution, and no transform."""

import pytest
import torch
import torch.nn.functional as F

from mixers import build_mixer

from ..cases import DIM, random_map


@pytest.mark.parametrize("size", [7, 8])
def test_is_a_circular_convolution(size: int) -> None:
    mixer = build_mixer("global_filter", DIM, (size, size), table_size=size).double()
    kernel = random_map(size, size, seed=5)[0]
    factors = torch.fft.rfft2(kernel, dim=(0, 1))
    with torch.no_grad():
        mixer.complex_weight.copy_(torch.view_as_real(factors))
    x = random_map(size, size, batch=2).requires_grad_()
    wrapped = F.pad(x.permute(0, 3, 1, 2), (size - 1, 0, size - 1, 0), mode="circular")
    flipped = kernel.flip(0, 1).permute(2, 0, 1)[:, None]
    wanted = F.conv2d(wrapped, flipped, groups=DIM).permute(0, 2, 3, 1)
    output = mixer(x)
    torch.testing.assert_close(output, wanted, rtol=1e-12, atol=1e-11)
    cotangent = random_map(size, size, batch=2, seed=7)
    gradients = [torch.autograd.grad(y, x, cotangent)[0] for y in (output, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-11)
