"""Local attention: both implementations against each other, as an operator of PyTorch, and what it refuses.

Against pixel-by-pixel twins, at every size and with every option, it is held by the mixers' tests.
"""

import logging
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mixers.kernels.compiler import MissingImplementationError
from mixers.kernels.local_attention import LocalAttention, implementation_for
from mixers.kernels.local_attention.geometry import Geometry

OPERATORS = torch.ops.stmbench


@dataclass(frozen=True)
class Case:
    block_size: int
    halo_size: int
    shift: int
    tables: str  # which are given: "bias", "rows and columns", "all" or ""
    size: tuple[int, int] = (16, 9)
    heads: int = 3
    width: int = 5  # fills no vector

    def __str__(self) -> str:
        return f"{self.block_size}-{self.halo_size}-{self.shift}-{self.tables or 'none'}-{self.width}"

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.block_size, self.halo_size, self.shift)

    def tensors(self, dtype: torch.dtype, batch: int = 2) -> dict[str, Tensor]:
        """Numbers that are the same in every dtype."""
        generator = torch.Generator().manual_seed(0)
        places = 2 * self.geometry.window_size - 1
        shapes = dict.fromkeys(("query", "key", "value"), (batch, *self.size, self.heads, self.width))
        if self.tables in ("bias", "all"):
            shapes["bias_table"] = (places**2, self.heads)
        if self.tables in ("rows and columns", "all"):
            shapes["row_table"] = shapes["column_table"] = (places, self.width)
        return {
            name: torch.randn(shape, generator=generator).bfloat16().to(dtype).requires_grad_()
            for name, shape in shapes.items()
        }

    def attention(self, implementation: str = "auto") -> LocalAttention:
        numbers = {"halo_size": self.halo_size, "shift": self.shift}
        return LocalAttention(self.block_size, **numbers, implementation=implementation)


CASES = [
    Case(7, 3, 0, "rows and columns", width=32),
    Case(7, 0, 0, "bias", width=32),
    Case(7, 0, 3, "bias", width=16),
    Case(7, 0, 3, ""),
    Case(4, 1, 0, "all", size=(1, 30)),
    Case(5, 0, 4, "all", heads=1),
    Case(3, 5, 0, "bias", width=1),
    Case(9, 0, 0, "all", size=(8, 10), width=40),
    Case(1, 0, 0, ""),
]
CASE = CASES[0]


def outputs_and_gradients(
    implementation: str, case: Case, dtype: torch.dtype, query_layout: str = "contiguous"
) -> dict[str, Tensor]:
    tensors = case.tensors(dtype)
    arguments = dict(tensors)
    if query_layout == "channels first":
        arguments["query"] = tensors["query"].permute(0, 3, 4, 1, 2).contiguous().permute(0, 3, 4, 1, 2)
        assert arguments["query"].stride(-1) != 1
    output = case.attention(implementation)(**arguments)
    cotangent = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    gradients = torch.autograd.grad(output, tensors.values(), cotangent.to(dtype))
    return {"output": output, **dict(zip(tensors, gradients, strict=True))}


def assert_close(ours: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float) -> None:
    assert ours.keys() == wanted.keys()
    for name, tensor in wanted.items():
        difference = (ours[name].to(tensor.dtype) - tensor).abs().max()
        assert difference <= tolerance * max(tensor.abs().max(), 1), f"{name} differs by {difference}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_implementations_agree(case: Case) -> None:
    wanted = outputs_and_gradients("reference", case, torch.float64)
    assert_close(outputs_and_gradients("cpp", case, torch.float64), wanted, 1e-12)
    assert_close(outputs_and_gradients("cpp", case, torch.float32), wanted, 1e-5)
    assert_close(outputs_and_gradients("cpp", case, torch.float64, "channels first"), wanted, 1e-12)


def test_half_precision_is_computed_in_single() -> None:
    """Only input and output are rounded."""
    tensors = {name: tensor.detach().bfloat16() for name, tensor in CASE.tensors(torch.float32).items()}
    exact = CASE.attention("reference")(**{name: tensor.double() for name, tensor in tensors.items()})
    output = CASE.attention("cpp")(**tensors)
    assert output.dtype == torch.bfloat16
    assert ((output - exact).abs() <= 2**-8 * exact.abs() + 1e-5).all()
    tables_in_single = {name: tensor.float() if "table" in name else tensor for name, tensor in tensors.items()}
    assert torch.equal(CASE.attention("cpp")(**tables_in_single), output)


def test_large_scores_do_not_overflow() -> None:
    tensors = {name: 100 * tensor.detach() for name, tensor in CASE.tensors(torch.float32).items()}
    output = CASE.attention("cpp")(**tensors)
    torch.testing.assert_close(output, CASE.attention("reference")(**tensors), rtol=1e-3, atol=1e-2)


def test_what_is_no_number_stays_in_its_windows() -> None:
    tensors = {name: tensor.detach() for name, tensor in CASE.tensors(torch.float32).items()}
    clean = CASE.attention("cpp")(**tensors)
    tensors["key"][0, 0, 0, 1, 2] = torch.nan
    output = CASE.attention("cpp")(**tensors).unflatten(-1, (CASE.heads, CASE.width))
    assert output[0, :7, :7, 1].isnan().all()  # the only block whose window holds pixel (0, 0)
    output[0, :7, :7, 1] = clean.unflatten(-1, (CASE.heads, CASE.width))[0, :7, :7, 1]
    assert torch.equal(output.flatten(-2), clean)


def test_threads_do_not_change_a_bit() -> None:
    once = outputs_and_gradients("cpp", CASE, torch.float32)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        again = outputs_and_gradients("cpp", CASE, torch.float32)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(again[name], tensor) for name, tensor in once.items())


@pytest.mark.parametrize("implementation", ["cpp", "reference"])
def test_empty_batches_are_empty(implementation: str) -> None:
    tensors = CASE.tensors(torch.float32, batch=0)
    output = CASE.attention(implementation)(**tensors)
    assert output.shape == (0, *CASE.size, CASE.heads * CASE.width)
    output.sum().backward()


def operator_arguments(case: Case, dtype: torch.dtype = torch.float64) -> tuple[object, ...]:
    tensors = case.tensors(dtype)
    bias = tensors.get("bias_table")
    if bias is not None:
        bias = case.geometry.bias(bias).transpose(1, 2).contiguous().detach().requires_grad_()
    maps = (tensors[name] for name in ("query", "key", "value"))
    return *maps, bias, tensors.get("row_table"), tensors.get("column_table"), *vars(case.geometry).values(), "cpp"


@pytest.mark.parametrize("case", [CASES[0], CASES[2], CASES[4]], ids=str)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
def test_operators_keep_pytorchs_rules(case: Case) -> None:
    """Schema, autograd registration, shapes without data, and tracing with sizes that vary."""
    arguments = operator_arguments(case)
    torch.library.opcheck(OPERATORS.local_attention.default, arguments)
    output, log_sums = OPERATORS.local_attention(*arguments)
    leaves = [None if tensor is None else tensor.detach() for tensor in arguments[:6]]
    backward = (torch.randn_like(output), output.detach(), log_sums.detach(), *leaves, *arguments[6:])
    torch.library.opcheck(OPERATORS.local_attention_backward.default, backward)


@pytest.mark.parametrize("case", [CASES[0], CASES[2], CASES[4]], ids=str)
def test_second_derivatives(case: Case) -> None:
    tensors = case.tensors(torch.float64, batch=1)

    def output(*values: Tensor) -> Tensor:
        return case.attention("cpp")(**dict(zip(tensors, values, strict=True)))

    assert torch.autograd.gradgradcheck(output, tuple(tensors.values()), fast_mode=True)


class Layer(nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.attention = case.attention()

    def forward(self, tensors: dict[str, Tensor]) -> Tensor:
        return self.attention(**tensors) * 2


@pytest.mark.parametrize("case", [CASES[0], CASES[2]], ids=str)
def test_compiles_without_a_break_forward_and_backward(case: Case) -> None:
    tensors = case.tensors(torch.float32)
    torch.compiler.reset()
    seen = []

    def backend(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        seen.append(graph.print_readable(print_output=False))
        return graph

    torch.compile(Layer(case), backend=backend, fullgraph=True)(tensors)
    assert "stmbench.local_attention" in seen[0]
    torch.compiler.reset()
    compiled = torch.compile(Layer(case), backend="aot_eager", fullgraph=True)(tensors)
    plain = Layer(case)(tensors)
    torch.testing.assert_close(compiled, plain)
    leaves = list(tensors.values())
    gradients = (torch.autograd.grad(output.square().sum(), leaves) for output in (compiled, plain))
    for ours, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, wanted)


@pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented the batching rule")
def test_other_programs_get_pytorchs_own_functions() -> None:
    """Exported programs, traces and transforms cannot be made to depend on a library of this machine."""
    tensors = {name: tensor.detach() for name, tensor in CASE.tensors(torch.float32).items()}
    exported = torch.export.export(Layer(CASE), (tensors,))
    assert "stmbench" not in str(exported.graph)
    wanted = Layer(CASE)(tensors)
    torch.testing.assert_close(exported.module()(tensors), wanted, rtol=1e-4, atol=1e-4)
    maps = {name: tensors.pop(name)[:, None] for name in ("query", "key", "value")}
    per_image = torch.func.vmap(lambda maps: Layer(CASE)({**maps, **tensors}))
    torch.testing.assert_close(per_image(maps)[:, 0], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_counted_products_are_the_reference_ones(case: Case) -> None:
    counts = {}
    for implementation in ("cpp", "reference"):
        tensors = case.tensors(torch.float32)
        with FlopCounterMode(display=False) as counter:
            case.attention(implementation)(**tensors)
        counts[implementation] = counter.get_total_flops()
    assert counts["cpp"] == counts["reference"] > 0


def test_backward_counts_two_and_a_half_times_forward() -> None:
    tensors = CASE.tensors(torch.float32)
    with FlopCounterMode(display=False) as counter:
        CASE.attention("cpp")(**tensors).sum().backward()
    counts = counter.get_flop_counts()["Global"]
    assert counts[OPERATORS.local_attention_backward] == 2.5 * counts[OPERATORS.local_attention]


def test_automatic_choice_depends_on_device_and_dtype() -> None:
    assert implementation_for(torch.empty(1)) == "cpp"
    assert implementation_for(torch.empty(1, dtype=torch.float16)) == "reference"
    assert implementation_for(torch.empty(1, device="meta")) == "reference"
    assert implementation_for(torch.empty(1), "reference") == "reference"


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_the_reference_is_used_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert [implementation_for(torch.empty(1)) for _ in range(2)] == ["reference"] * 2
    [record] = caplog.records
    assert record.message.startswith(
        "local_attention, and all that needs the same, goes without its cpp implementation"
    )
    assert record.message.endswith(": no C++ compiler is on the path")
    with pytest.raises(MissingImplementationError, match="cpp cannot run here: no C"):
        implementation_for(torch.empty(1), "cpp")


def test_impossible_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="implementation='cuda': must be auto or one of cpp, triton, reference"):
        implementation_for(torch.empty(1), "cuda")
    with pytest.raises(ValueError, match=r"cpp is for .* on cpu; got torch\.float16 on cpu"):
        implementation_for(torch.empty(1, dtype=torch.float16), "cpp")
    for numbers in ({"block_size": 0}, {"block_size": 3, "shift": 3}, {"block_size": 3, "halo_size": -1}):
        with pytest.raises(ValueError, match="block_size at least 1"):
            LocalAttention(**numbers)
    with pytest.raises(ValueError, match="cannot be shifted"):
        LocalAttention(3, halo_size=1, shift=1)

    tensors = CASE.tensors(torch.float32)
    call = partial(CASE.attention(), **tensors)
    with pytest.raises(ValueError, match=r"three maps B, H, W, heads, d; got \(2, 16, 9, 3, 32\), \(1, "):
        call(key=tensors["key"][:1])
    with pytest.raises(ValueError, match=r"row_table \(24, 32\) must be \(25, 32\)"):
        call(row_table=tensors["row_table"][:24])
    with pytest.raises(ValueError, match=r"bias_table \(625, 2\) must be \(625, 3\)"):
        call(bias_table=torch.zeros(625, 2))
    with pytest.raises(ValueError, match="come together"):
        call(column_table=None)
