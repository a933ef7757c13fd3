"""Depth-wise convolution: the C++ code against PyTorch's, as an operator of PyTorch, and where which one computes.

In a network, and against pixel-by-pixel twins, it is held by the mixers' tests.
"""

import itertools
import logging

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mixers.kernels.depthwise import DepthwiseConv2d, depthwise_conv, reference

OPERATORS = torch.ops.stmbench
# Less than a tile of columns, several of them; less than a vector of channels, several; one band of rows, several.
SIZES = [(1, 1, 1), (5, 7, 8), (17, 15, 40), (33, 30, 17), (40, 3, 16)]
KERNELS = list(itertools.product((3, 5, 7), (True, False)))


def arguments(
    size: tuple[int, int, int] = (5, 9, 6),
    kernel_size: int = 7,
    per_image: bool = True,
    dtype: torch.dtype = torch.float64,
    batch: int = 2,
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    kernels = (size[2], kernel_size, kernel_size)
    shapes = ((batch, *size), (batch, *kernels) if per_image else kernels, size[2:])
    return tuple(torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes)


def gradients(function: object, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    output = function(*inputs)
    cotangent = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return output, *torch.autograd.grad(output, inputs, cotangent.to(output.dtype))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kernel_size", "per_image"), KERNELS)
def test_code_computes_what_pytorch_computes(size: tuple[int, int, int], kernel_size: int, per_image: bool) -> None:
    inputs = arguments(size, kernel_size, per_image)
    wanted = gradients(reference.forward, inputs)
    for ours, tensor in zip(gradients(OPERATORS.depthwise_conv, inputs), wanted, strict=True):
        torch.testing.assert_close(ours, tensor, rtol=1e-12, atol=1e-12)
    single = tuple(tensor.detach().float().requires_grad_() for tensor in inputs)
    for ours, tensor in zip(gradients(OPERATORS.depthwise_conv, single), wanted, strict=True):
        torch.testing.assert_close(ours.double(), tensor, rtol=1e-4, atol=1e-4)


def test_any_layout_and_no_bias() -> None:
    x, kernels, _ = arguments()
    channels_first = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert not channels_first.is_contiguous()
    output = depthwise_conv(channels_first, kernels.transpose(-1, -2))
    torch.testing.assert_close(output, reference.forward(x, kernels.transpose(-1, -2), None))
    output.sum().backward()
    assert kernels.grad.abs().min() > 0


def test_threads_do_not_change_a_bit() -> None:
    inputs = arguments((33, 30, 40), dtype=torch.float32)
    once = gradients(depthwise_conv, inputs)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        again = gradients(depthwise_conv, inputs)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(*pair) for pair in zip(once, again, strict=True))


def test_empty_batches_are_empty() -> None:
    inputs = arguments(batch=0)
    output = OPERATORS.depthwise_conv(*inputs)
    assert output.shape == inputs[0].shape
    output.sum().backward()


@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
def test_operators_keep_pytorchs_rules(per_image: bool) -> None:
    x, kernels, bias = arguments(per_image=per_image)
    torch.library.opcheck(OPERATORS.depthwise_conv.default, (x, kernels, bias))
    torch.library.opcheck(OPERATORS.depthwise_conv_backward.default, (torch.randn_like(x), x, kernels))


@pytest.mark.parametrize("per_image", [True, False])
def test_second_derivatives(per_image: bool) -> None:
    assert torch.autograd.gradgradcheck(depthwise_conv, arguments((3, 4, 2), 5, per_image), fast_mode=True)


@pytest.mark.parametrize("per_image", [True, False])
def test_compiles_without_a_break_for_any_batch(per_image: bool) -> None:
    torch.compiler.reset()
    seen = []

    def backend(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        seen.append(graph.print_readable(print_output=False))
        return graph

    compiled = torch.compile(depthwise_conv, backend=backend, fullgraph=True, dynamic=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for batch in (2, 3):
            inputs = arguments(per_image=per_image, batch=batch)
            torch.testing.assert_close(compiled(*inputs), depthwise_conv(*inputs))
    assert len(seen) == 1
    assert "stmbench.depthwise_conv" in seen[0]
    torch.compiler.reset()


def test_other_programs_get_pytorchs_own_functions() -> None:
    """Exported programs and transforms cannot be made to depend on a library of this machine."""
    layer = DepthwiseConv2d(6, 7)
    x = torch.randn(2, 5, 9, 6)
    exported = torch.export.export(layer, (x,))
    assert "stmbench" not in str(exported.graph)
    torch.testing.assert_close(exported.module()(x), layer(x))
    torch.testing.assert_close(torch.func.vmap(layer)(x[:, None])[:, 0], layer(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


class PerImage(nn.Module):
    def forward(self, x: Tensor, kernels: Tensor, bias: Tensor) -> Tensor:
        return depthwise_conv(x, kernels, bias)


def test_an_exported_program_takes_any_batch_though_each_image_has_kernels() -> None:
    """A grouped convolution of the batch would fix the batch's size."""
    batch = {0: torch.export.Dim.DYNAMIC}
    exported = torch.export.export(PerImage(), arguments(per_image=True, batch=2), dynamic_shapes=(batch, batch, None))
    for size in (2, 3):
        inputs = arguments(per_image=True, batch=size)
        torch.testing.assert_close(exported.module()(*inputs), depthwise_conv(*inputs))


def test_layer_has_the_state_of_the_plain_one() -> None:
    layer, plain = DepthwiseConv2d(6, 7), nn.Conv2d(6, 6, 7, padding=3, groups=6)
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, 9, 6)
    torch.testing.assert_close(layer(x), plain(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


@pytest.mark.parametrize("per_image", [True, False])
def test_products_are_counted(per_image: bool) -> None:
    with FlopCounterMode(display=False) as counter:
        output = depthwise_conv(*arguments(per_image=per_image))
        assert counter.get_total_flops() == 2 * output.numel() * 49
        output.sum().backward()
    assert counter.get_total_flops() == 3 * 2 * output.numel() * 49


def test_wrong_shapes_are_refused() -> None:
    x, kernels, bias = (tensor.detach() for tensor in arguments())
    for wrong in (
        (x, kernels[:, :5], bias),
        (x, kernels[..., :6], bias),
        (x[:1], kernels, bias),
        (x, kernels, bias[1:]),
    ):
        with pytest.raises((ValueError, RuntimeError)):
            depthwise_conv(*wrong)
        with pytest.raises(ValueError, match="depth-wise convolution wants"):
            OPERATORS.depthwise_conv(*wrong)


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_pytorch_computes_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    inputs = arguments()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            torch.testing.assert_close(depthwise_conv(*inputs), reference.forward(*inputs))
    assert [record.message for record in caplog.records] == [
        "depthwise, and all that needs the same, goes without its cpp implementation: no C++ compiler is on the path"
    ]
