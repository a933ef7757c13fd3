"""The gradients of large depth-wise kernels, against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F

from mixers.kernels.large_depthwise import LargeDepthwiseConv, large_depthwise_conv


@pytest.mark.parametrize("shape", [(1, 3), (5, 3), (7, 7)])
def test_derivatives_equal_finite_differences(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = ((2, 3, 4, 5), (3, 1, *shape), (3,))
    tensors = [torch.randn(size, generator=generator, dtype=torch.float64).requires_grad_() for size in sizes]
    assert torch.autograd.gradcheck(LargeDepthwiseConv.apply, tensors)
    assert torch.autograd.gradgradcheck(LargeDepthwiseConv.apply, tensors, fast_mode=True)


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("shape", [(31, 31), (51, 5), (13, 13)])
def test_equals_torch(shape: tuple[int, int], learned: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 20, 17, 8, generator=generator).permute(0, 3, 1, 2).requires_grad_()
    kernels = torch.randn(8, 1, *shape, generator=generator).requires_grad_(learned)
    bias = torch.randn(8, generator=generator).requires_grad_()
    cotangent = torch.randn(x.shape, generator=generator)
    output = large_depthwise_conv(x, kernels, bias)
    assert (type(output.grad_fn).__name__ == "LargeDepthwiseConvBackward") == learned
    wanted = F.conv2d(x, kernels, bias, padding=(shape[0] // 2, shape[1] // 2), groups=8)
    torch.testing.assert_close(output, wanted, rtol=0, atol=0)
    leaves = [tensor for tensor in (x, kernels, bias) if tensor.requires_grad]
    for gradient, expected in zip(
        torch.autograd.grad(output, leaves, cotangent), torch.autograd.grad(wanted, leaves, cotangent), strict=True
    ):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
