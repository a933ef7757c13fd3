"""DCNv3 as an operator of PyTorch: what autograd, autocast, compile, export and counters see, and what it refuses."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mixers.kernels.dcnv3 import IMPLEMENTATIONS, dcnv3, implementation_for

from .cases import CASES, Case

CASE = CASES[0]
OPERATORS = torch.ops.stmbench
NUMBERS = (CASE.kernel_size, CASE.stride, CASE.padding, CASE.dilation, CASE.offset_scale, CASE.remove_centre)
BOTH = pytest.mark.parametrize("implementation", ["auto", "reference"])


@BOTH
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
def test_operators_keep_pytorchs_rules(implementation: str):
    """Schema, autograd registration, shapes without data, and tracing with sizes that vary."""
    inputs = CASE.tensors(torch.float32)
    torch.library.opcheck(OPERATORS.dcnv3.default, (*inputs, *NUMBERS, implementation))
    grad = torch.randn(CASE.batch, *CASE.size, CASE.groups * CASE.width)
    torch.library.opcheck(OPERATORS.dcnv3_backward.default, (grad, *inputs, *NUMBERS, implementation))


class Layer(nn.Module):
    def forward(self, value: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
        return dcnv3(value * 2, offsets, weights.softmax(-1), **CASE.options)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_without_a_break_forward_and_backward(backend: str):
    inputs = CASE.tensors(torch.float32)
    torch.compiler.reset()
    compiled = torch.compile(Layer(), backend=backend, fullgraph=True)(*inputs)
    plain = Layer()(*inputs)
    torch.testing.assert_close(compiled, plain)
    for ours, theirs in zip(
        torch.autograd.grad(compiled.sum(), inputs), torch.autograd.grad(plain.sum(), inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_exports_as_one_node_for_any_batch_and_size():
    rows, columns, batch = (torch.export.Dim(name, min=2, max=64) for name in ("rows", "columns", "batch"))
    dims = {0: batch, 1: rows, 2: columns}
    exported = torch.export.export(Layer(), CASE.tensors(torch.float32), dynamic_shapes=(dims, dims, dims))
    calls = [node.target for node in exported.graph.nodes if node.op == "call_function"]
    assert calls.count(OPERATORS.dcnv3.default) == 1
    larger = Case("larger", (8, 9), CASE.groups, CASE.width, batch=3).tensors(torch.float32)
    torch.testing.assert_close(exported.module()(*larger), Layer()(*larger))


def test_describes_itself_without_data():
    with torch.device("meta"):
        value, offsets, weights = (torch.empty(shape) for shape in ((2, 9, 8, 6), (2, 5, 4, 3, 9, 2), (2, 5, 4, 3, 9)))
        output = dcnv3(value, offsets, weights, stride=2, padding=1)
    assert output.shape == (2, 5, 4, 6)
    assert output.device.type == "meta"


def test_counters_see_five_products_a_point_and_channel_and_twice_that_backward():
    inputs = CASE.tensors(torch.float32)
    with FlopCounterMode(display=False) as counter:
        dcnv3(*inputs, **CASE.options).sum().backward()
    forward = 2 * 5 * CASE.batch * CASE.size[0] * CASE.size[1] * CASE.groups * CASE.width * 9
    counts = counter.get_flop_counts()["Global"]
    assert counts[OPERATORS.dcnv3] == forward
    assert counts[OPERATORS.dcnv3_backward] == 2 * forward


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_casts_all_three_and_gradients_come_back(implementation: str, dtype: torch.dtype):
    inputs = CASE.tensors(torch.float32)
    call = partial(dcnv3, **CASE.options, implementation=implementation)
    with torch.autocast("cpu", dtype):
        output = call(*inputs)
    assert output.dtype == dtype
    cast = [tensor.detach().to(dtype) for tensor in inputs]
    assert torch.equal(output, call(*cast))
    grads = torch.autograd.grad(output.float().sum(), inputs)
    assert all(grad.dtype == torch.float32 for grad in grads)


@BOTH
def test_positions_are_computed_in_float32_whatever_the_dtype(implementation: str):
    """At column 300 a bfloat16 position would be off by a pixel."""
    value = torch.arange(400.0).bfloat16().view(1, 1, 400, 1)
    weights = torch.ones(1, 1, 400, 1, 1, dtype=torch.bfloat16)
    offsets = torch.full((1, 1, 400, 1, 1, 2), 0.0, dtype=torch.bfloat16)
    offsets[..., 0] = 0.25
    output = dcnv3(value, offsets, weights, kernel_size=1, implementation=implementation)
    wanted = value.float() * 0.75 + torch.cat((value.float()[:, :, 1:], torch.zeros(1, 1, 1, 1)), 2) * 0.25
    assert torch.equal(output, wanted.bfloat16())


@BOTH
@pytest.mark.parametrize("offset", [1e30, -1e30, 3e9, float("inf"), float("-inf"), float("nan")])
def test_points_far_away_or_nowhere_add_nothing_and_get_no_gradient(implementation: str, offset: float):
    value, offsets, weights = CASE.tensors(torch.float32)
    with torch.no_grad():
        offsets[..., 4, 0] = offset
        offsets[..., 5, 1] = offset
    output = dcnv3(value, offsets, weights, **CASE.options, implementation=implementation)
    without = torch.ones_like(weights)
    without[..., 4:6] = 0
    near = offsets.detach().nan_to_num(0, 0, 0)
    torch.testing.assert_close(
        output, dcnv3(value, near, weights * without, **CASE.options, implementation=implementation)
    )
    grads = torch.autograd.grad(output.sum(), (value, offsets, weights))
    assert all(grad.isfinite().all() for grad in grads)
    assert not grads[1][..., 4:6, :].any()
    assert not grads[2][..., 4:6].any()


@BOTH
def test_values_that_are_not_numbers_stay_where_they_are(implementation: str):
    """A corner that lies outside of the map is not the map's first pixel times zero."""
    value = torch.ones(1, 4, 4, 1)
    value[0, 0, 0] = float("nan")
    weights = torch.ones(1, 4, 4, 1, 1)
    offsets = torch.full((1, 4, 4, 1, 1, 2), 0.5)
    output = dcnv3(value, offsets, weights, kernel_size=1, implementation=implementation)
    assert output.isnan().flatten().tolist() == [True] + [False] * 15


@BOTH
def test_strided_inputs_and_gradients_give_what_contiguous_ones_do(implementation: str):
    call = partial(dcnv3, **CASE.options, implementation=implementation)
    inputs = CASE.tensors(torch.float32)
    strided = [tensor.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_() for tensor in inputs]
    shifted = [torch.cat((torch.zeros(1), tensor.detach().flatten()))[1:].view(tensor.shape) for tensor in inputs]
    wanted = call(*inputs)
    assert torch.equal(call(*strided), wanted)
    assert torch.equal(call(*shifted), wanted)
    grad = torch.randn(wanted.shape).transpose(1, 2).contiguous().transpose(1, 2)
    for ours, theirs in zip(
        torch.autograd.grad(call(*strided), strided, grad),
        torch.autograd.grad(wanted, inputs, grad.contiguous()),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


@BOTH
def test_no_images_give_no_outputs_and_zero_sized_gradients(implementation: str):
    inputs = Case("empty", (5, 7), groups=2, width=16, batch=0).tensors(torch.float32)
    output = dcnv3(*inputs, padding=1, implementation=implementation)
    assert output.shape == (0, 5, 7, 32)
    assert [grad.shape for grad in torch.autograd.grad(output.sum(), inputs)] == [tensor.shape for tensor in inputs]


def test_centre_feature_scale_replaces_a_share_of_the_samples_by_the_pixels_own_value():
    value, offsets, weights = CASE.tensors(torch.float64)
    scale = torch.rand(weights.shape[:-1], dtype=torch.float64)
    output = dcnv3(value, offsets, weights, **CASE.options, centre_feature_scale=scale)
    samples = dcnv3(value, offsets, weights, **CASE.options)
    share = scale.repeat_interleave(CASE.width, -1)
    torch.testing.assert_close(output, samples * (1 - share) + value * share)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": (2, 5, 7, 33)}, r"33 channels of value \(2, 5, 7, 33\) do not divide into 2 groups"),
        ({"value": (2, 5, 7)}, r"value \(2, 5, 7\)"),
        ({"value": (3, 5, 7, 32)}, r"value \(3, 5, 7, 32\).*wants weights \(3, 5, 7, 2, 9\).*\(2, 5, 7, 2, 9\)"),
        ({"offsets": (2, 5, 7, 2, 18)}, r"offsets \(2, 5, 7, 2, 18\)"),
        ({"offsets": (2, 5, 7, 2, 9, 3)}, r"wants .*offsets \(2, 5, 7, 2, 9, 2\).*got .*offsets \(2, 5, 7, 2, 9, 3\)"),
        ({"weights": (2, 5, 6, 2, 9)}, r"wants weights \(2, 5, 7, 2, 9\).*got weights \(2, 5, 6, 2, 9\)"),
        ({"kernel_size": 5}, r"wants weights \(2, 3, 5, 2, 25\).*got weights \(2, 5, 7, 2, 9\)"),
        ({"remove_centre": True}, r"wants weights \(2, 5, 7, 2, 8\)"),
        ({"padding": 0, "dilation": 5}, r"all but the batch at least 1"),
        ({"stride": 0}, r"stride=0: must be at least 1"),
        ({"padding": -1}, r"padding=-1: must be at least 0"),
        ({"kernel_size": 4, "remove_centre": True}, r"remove_centre with kernel_size=4"),
        ({"implementation": "fast"}, r"'fast': must be auto or one of cpp, cuda, triton, reference"),
        ({"implementation": "cuda"}, r"'cuda' is for .* on cuda; got torch.float32 on cpu"),
        ({"centre_feature_scale": (2, 5, 7)}, r"centre_feature_scale \(2, 5, 7\) must be \(2, 5, 7, 2\)"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_with_the_shapes(change: dict, message: str):
    arguments: dict = {"value": (2, 5, 7, 32), "offsets": (2, 5, 7, 2, 9, 2), "weights": (2, 5, 7, 2, 9), "padding": 1}
    arguments |= change
    arguments |= {name: torch.zeros(shape) for name, shape in arguments.items() if isinstance(shape, tuple)}
    with pytest.raises(ValueError, match=message):
        dcnv3(**arguments)


def test_dtypes_that_do_not_fit_are_refused():
    value, offsets, weights = CASE.tensors(torch.float32)
    with pytest.raises(ValueError, match=r"offsets torch.float64 with value torch.float32"):
        dcnv3(value, offsets.double(), weights, **CASE.options)
    with pytest.raises(ValueError, match=r"weights torch.bfloat16 with value torch.float32"):
        dcnv3(value, offsets, weights.bfloat16(), **CASE.options)


def test_the_implementation_is_known_before_it_runs():
    assert implementation_for(torch.empty(0), "reference") == "reference"
    assert implementation_for(torch.empty(0, dtype=torch.float16)) == "reference"
    assert implementation_for(torch.empty(0)) in IMPLEMENTATIONS
    assert implementation_for(torch.empty(0, device="meta")) == "reference"
