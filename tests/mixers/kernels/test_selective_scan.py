"""The selective scan: the reference by hand, the C++ code against it, as an operator, and which of them computes.

In a network, and against a pixel-by-pixel twin, it is held by the mixers' tests.
"""

import logging
import shutil
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mixers.kernels.compiler import MissingImplementationError
from mixers.kernels.selective_scan import IMPLEMENTATIONS, implementation_for, implementations, selective_scan
from mixers.kernels.used import used_implementations

OPERATORS = torch.ops.stmbench
needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler here")
# One pixel and less than a vector of channels; several blocks of steps; several tasks of channels, in both dtypes.
SIZES = [(1, 1, 1, 1, 1), (2, 3, 5, 7, 1), (2, 7, 6, 33, 3), (1, 9, 11, 70, 16), (3, 33, 2, 16, 2)]


def inputs_of(
    batch: int = 2,
    rows: int = 3,
    columns: int = 4,
    channels: int = 5,
    states: int = 2,
    dtype: torch.dtype = torch.float64,
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    own = (4, batch, rows, columns)
    shapes = {
        "x": (batch, rows, columns, channels),
        "delta": (*own, channels),
        "a_log": (4, channels, states),
        "b": (*own, states),
        "c": (*own, states),
        "d": (4, channels),
        "delta_bias": (4, channels),
    }
    drawn = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    return {name: tensor.to(dtype).requires_grad_() for name, tensor in drawn.items()}


def with_gradients(inputs: dict[str, Tensor], implementation: str) -> tuple[Tensor, ...]:
    output = selective_scan(**inputs, implementation=implementation)
    cotangent = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return output, *torch.autograd.grad(output, list(inputs.values()), cotangent.to(output.dtype))


def assert_close(results: tuple[Tensor, ...], wanted: tuple[Tensor, ...], tolerance: float) -> None:
    """Relative to the largest number of each tensor."""
    for ours, theirs in zip(results, wanted, strict=True):
        assert ours.shape == theirs.shape
        assert (ours.double() - theirs.double()).abs().max() <= tolerance * theirs.double().abs().max()


def test_two_pixels_by_hand() -> None:
    """Steps of 1 (softplus of ln(e - 1)) and a state that halves: a = -ln 2."""
    x = torch.tensor((3.0, 5.0), dtype=torch.float64).view(1, 1, 2, 1)
    ones = torch.ones(4, 1, 1, 2, 1, dtype=torch.float64)
    size = torch.expm1(torch.ones((), dtype=torch.float64)).log()
    rate = torch.full((4, 1, 1), 2.0, dtype=torch.float64).log().log()
    d = torch.tensor((10.0, 0.0, 0.0, 0.0), dtype=torch.float64).view(4, 1)
    output = selective_scan(
        x, 0 * ones, rate, ones, 2 * ones, d, delta_bias=size.expand(4, 1), implementation="reference"
    )
    # To the right, 3 and 3/2 + 5; to the left, 5 and 5/2 + 3; each twice, and each read by 2.
    wanted = torch.tensor((4 * (3 + 5.5) + 30, 4 * (6.5 + 5) + 50), dtype=torch.float64)
    torch.testing.assert_close(output.flatten(), wanted)


def test_paths_visit_pixels_in_the_papers_order() -> None:
    """What a path's `b` lets in at one pixel only is read at those that it visits later, and at that pixel."""
    later = ("(0,1) (1,0) (1,1) (2,0) (2,1)", "(0,1) (1,1) (2,0) (2,1)", "(0,0) (0,1)", "(0,0) (1,0)")
    starts = ((0, 1), (2, 0), (0, 1), (1, 0))
    for path, (pixels, start) in enumerate(zip(later, starts, strict=True)):
        inputs = {name: tensor.detach() for name, tensor in inputs_of(1, 3, 2, 1, 1).items()}
        inputs["d"].zero_()
        inputs["b"].zero_()
        inputs["b"][(path, 0, *start)] = 1
        reached = selective_scan(**inputs)[0, ..., 0].nonzero().tolist()
        assert " ".join(f"({row},{column})" for row, column in reached) == pixels


def test_reference_backward_is_the_derivative_of_its_forward() -> None:
    inputs = inputs_of()
    assert torch.autograd.gradcheck(
        lambda *tensors: selective_scan(**dict(zip(inputs, tensors, strict=True)), implementation="reference"),
        tuple(inputs.values()),
        fast_mode=True,
    )


@needs_compiler
@pytest.mark.parametrize("size", SIZES)
def test_code_computes_what_the_reference_does(size: tuple[int, ...]) -> None:
    exact = with_gradients(inputs_of(*size), "reference")
    assert_close(with_gradients(inputs_of(*size), "cpp"), exact, 1e-13)
    assert_close(with_gradients(inputs_of(*size, dtype=torch.float32), "cpp"), exact, 3e-6)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_halves_are_computed_in_float32_and_gradients_come_back_as_they_were(dtype: torch.dtype) -> None:
    halves = inputs_of(2, 5, 6, 9, 2, dtype=dtype)
    same = {name: tensor.detach().float().requires_grad_() for name, tensor in halves.items()}
    results, wanted = (with_gradients(inputs, "cpp") for inputs in (halves, same))
    assert results[0].dtype == torch.float32
    assert torch.equal(results[0], wanted[0])
    for ours, theirs in zip(results[1:], wanted[1:], strict=True):
        assert torch.equal(ours, theirs.to(dtype))


@needs_compiler
@pytest.mark.parametrize("implementation", ["cpp", "reference"])
def test_extreme_steps_stay_finite(implementation: str) -> None:
    inputs = inputs_of(dtype=torch.float32)
    with torch.no_grad():
        inputs["delta"][0] = 1e4
        inputs["delta"][1] = -1e4
        inputs["a_log"][2] = 20
        inputs["a_log"][3] = -20
    assert all(tensor.isfinite().all() for tensor in with_gradients(inputs, implementation))


@needs_compiler
def test_threads_do_not_change_a_bit() -> None:
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(with_gradients(inputs_of(2, 9, 8, 140, 2, dtype=torch.float32), "cpp"))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


@needs_compiler
def test_any_layout() -> None:
    inputs = inputs_of()
    strange = {
        name: tensor.detach().transpose(1, -1).contiguous().transpose(1, -1).requires_grad_()
        for name, tensor in inputs.items()
    }
    assert not strange["x"].is_contiguous()
    for ours, theirs in zip(with_gradients(strange, "cpp"), with_gradients(inputs, "cpp"), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_empty_batches_are_empty() -> None:
    inputs = inputs_of(0)
    output = selective_scan(**inputs)
    assert output.shape == inputs["x"].shape
    output.sum().backward()
    assert not inputs["d"].grad.any()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
def test_operators_keep_pytorchs_rules() -> None:
    x, delta, a_log, b, c, d, delta_bias = inputs_of(2, 1, 2, 3, 2).values()
    arguments = (x, delta, delta_bias, a_log, b, c, d, "auto")
    torch.library.opcheck(OPERATORS.selective_scan.default, arguments)
    torch.library.opcheck(OPERATORS.selective_scan_backward.default, (torch.randn_like(x), *arguments))


def test_second_derivatives() -> None:
    inputs = inputs_of(1, 2, 3, 2, 2)
    scan: Callable[..., Tensor] = lambda *tensors: selective_scan(**dict(zip(inputs, tensors, strict=True)))  # noqa: E731
    assert torch.autograd.gradgradcheck(scan, tuple(inputs.values()), fast_mode=True)


def test_compiles_without_a_break_for_any_batch() -> None:
    torch.compiler.reset()
    compiled = torch.compile(selective_scan, backend="aot_eager", fullgraph=True, dynamic=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for batch in (2, 3):
            inputs = inputs_of(batch, 7, 6, 5, 8)
            torch.testing.assert_close(compiled(**inputs), selective_scan(**inputs))
    torch.compiler.reset()


class Scan(nn.Module):
    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return selective_scan(**inputs)


def test_exported_programs_hold_the_operator() -> None:
    inputs = {name: tensor.detach() for name, tensor in inputs_of().items()}
    exported = torch.export.export(Scan(), (inputs,))
    assert "stmbench.selective_scan" in str(exported.graph)
    torch.testing.assert_close(exported.module()(inputs), selective_scan(**inputs))


def test_autocast_leaves_the_arithmetic_alone() -> None:
    inputs = inputs_of(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        output = selective_scan(**inputs)
    assert torch.equal(output, selective_scan(**inputs))


def test_products_are_counted() -> None:
    inputs = inputs_of(2, 3, 4, 5, 3)
    forward = 2 * 4 * inputs["x"].numel() * (4 * 3 + 2)
    with FlopCounterMode(display=False) as counter:
        selective_scan(**inputs).sum().backward()
    counts = counter.get_flop_counts()["Global"]
    assert counts[OPERATORS.selective_scan] == forward
    assert counts[OPERATORS.selective_scan_backward] == 2 * forward


@pytest.mark.parametrize("name", ["delta", "a_log", "b", "c", "d", "delta_bias"])
def test_wrong_shapes_are_named(name: str) -> None:
    inputs = inputs_of()
    inputs[name] = inputs[name][:3]
    with pytest.raises(ValueError, match=rf"selective_scan: {name} \(3, .* must be \(4, .* for x \(2, 3, 4, 5\)"):
        selective_scan(**inputs)


def test_what_cannot_compute_is_refused_and_what_did_is_noted() -> None:
    inputs = inputs_of()
    with pytest.raises(ValueError, match="implementation='fast': must be auto or one of cpp, triton, reference"):
        selective_scan(**inputs, implementation="fast")
    with pytest.raises(ValueError, match=r"'triton' is for .* got torch.float64 on cpu"):
        selective_scan(**inputs, implementation="triton")
    with used_implementations() as used:
        selective_scan(**inputs, implementation="reference")
    assert used == {("selective_scan", "reference")}
    assert tuple(IMPLEMENTATIONS)[-1] == "reference"


def test_without_a_compiler_the_reference_is_used_and_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> None:
        raise MissingImplementationError("no C++ compiler is on the path")

    implementations._obstacle.cache_clear()
    monkeypatch.setattr(implementations.module_of("cpp"), "prepare", missing)
    monkeypatch.setattr("mixers.kernels.used._obstacles", {})
    inputs = inputs_of()
    try:
        with caplog.at_level(logging.WARNING):
            assert implementation_for(inputs["x"]) == "reference"
            selective_scan(**inputs)
        assert len(caplog.records) == 1
        with pytest.raises(MissingImplementationError, match="cannot run here: no C\\+\\+ compiler"):
            partial(selective_scan, implementation="cpp")(**inputs)
    finally:
        implementations._obstacle.cache_clear()
