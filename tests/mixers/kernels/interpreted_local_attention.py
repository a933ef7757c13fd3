"""Run by test_local_attention_triton.py in a process of its own: Triton decides when it is imported to interpret."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import triton.language as tl
from torch import Tensor
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle, _convert_float

from mixers import build_mixer
from mixers.kernels.local_attention import LocalAttention, implementation_for, triton_kernels
from mixers.kernels.used import used_implementations

from .test_local_attention import Case, assert_close, outputs_and_gradients

CASES = [
    Case(7, 3, 0, "rows and columns", size=(9, 15), heads=2, width=32),
    Case(4, 0, 2, "bias", size=(9, 6), heads=2, width=16),
    Case(4, 1, 0, "all", size=(2, 13), heads=2, width=5),
    Case(5, 0, 4, "all", size=(6, 7), heads=1, width=3),
    Case(3, 4, 0, "bias", size=(8, 7), heads=1, width=1),  # windows of blocks three apart still overlap
    Case(5, 1, 0, "rows and columns", size=(6, 8), heads=1, width=40),  # more queries than a program takes
    Case(9, 2, 0, "all", size=(8, 7), heads=1, width=24),
    Case(2, 0, 1, "", size=(5, 3), heads=3, width=8),
]
TOLERANCES = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}


@pytest.fixture(autouse=True)
def products_of_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter keeps bfloat16 as integers of 16 bits, and multiplies these as such."""
    multiply: Callable[..., TensorHandle] = InterpreterBuilder.create_dot

    def in_float32(factor: TensorHandle) -> TensorHandle:
        if factor.dtype.scalar != tl.bfloat16:
            return factor
        return TensorHandle(_convert_float(factor.data, tl.bfloat16, tl.float32, None).view(np.float32), tl.float32)

    def create_dot(builder: InterpreterBuilder, a: TensorHandle, b: TensorHandle, *others: Any) -> TensorHandle:
        return multiply(builder, in_float32(a), in_float32(b), *others)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_equals_reference(case: Case, dtype: torch.dtype) -> None:
    wanted = outputs_and_gradients("reference", case, torch.float64)
    assert_close(outputs_and_gradients("triton", case, dtype), wanted, TOLERANCES[dtype])


@pytest.mark.parametrize("case", [CASES[1], CASES[2]], ids=str)
def test_sums_over_parts_of_the_blocks_are_the_gradients_of_bias_and_tables(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_kernels, "_PARTS", 2 * case.heads)
    ours = outputs_and_gradients("triton", case, torch.float32)
    assert_close(ours, outputs_and_gradients("reference", case, torch.float64), 1e-5)


def test_maps_may_be_views() -> None:
    """As the mixers have them: keys and values lie between each other; and where channels are not neighbours."""
    case = CASES[2]
    maps = case.tensors(torch.float32)
    tables = {name: maps.pop(name) for name in tuple(maps) if "table" in name}
    together = torch.stack((maps["key"], maps["value"]), -2).detach().requires_grad_()
    key, value = together.unbind(-2)
    query = maps["query"].permute(0, 3, 4, 1, 2).contiguous().permute(0, 3, 4, 1, 2)
    assert query.stride(-1) != 1
    outputs = [
        case.attention(implementation)(query, key, value, **tables) for implementation in ("triton", "reference")
    ]
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    leaves = (maps["query"], together, *tables.values())
    # The gradient of a sum has no memory of its own for each element.
    gradients = [torch.autograd.grad(output.sum(), leaves) for output in outputs]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-5)


def test_large_scores_do_not_overflow() -> None:
    tensors = {name: 100 * tensor.detach() for name, tensor in CASES[2].tensors(torch.float32).items()}
    outputs = [CASES[2].attention(implementation)(**tensors) for implementation in ("triton", "reference")]
    torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-2)


def test_what_is_no_number_stays_in_its_windows() -> None:
    case = Case(3, 1, 0, "rows and columns", size=(7, 6), heads=2, width=4)
    tensors = {name: tensor.detach() for name, tensor in case.tensors(torch.float32).items()}
    clean = case.attention("triton")(**tensors)
    tensors["key"][0, 0, 0, 1, 2] = torch.nan
    output = case.attention("triton")(**tensors).unflatten(-1, (2, 4))
    assert output[0, :3, :3, 1].isnan().all()  # the only block whose window holds pixel (0, 0)
    output[0, :3, :3, 1] = clean.unflatten(-1, (2, 4))[0, :3, :3, 1]
    assert torch.equal(output.flatten(-2), clean)


def test_empty_batches_are_empty() -> None:
    output = CASES[0].attention("triton")(**CASES[0].tensors(torch.float32, batch=0))
    assert output.shape == (0, *CASES[0].size, 64)
    output.sum().backward()


def test_second_derivatives_are_the_references() -> None:
    case = CASES[2]

    def second(implementation: str) -> tuple[Tensor, ...]:
        tensors = case.tensors(torch.float32)
        leaves = tuple(tensors.values())
        first = torch.autograd.grad(case.attention(implementation)(**tensors).square().sum(), leaves, create_graph=True)
        return torch.autograd.grad(sum(gradient.square().sum() for gradient in first), leaves)

    for ours, theirs in zip(second("triton"), second("reference"), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_automatic_choice_is_for_windows_with_a_halo() -> None:
    query = torch.empty(1, 1, 1, 1, 128, dtype=torch.float16)
    assert implementation_for(query, has_halo=True) == "triton"
    assert implementation_for(query) == "reference"
    assert implementation_for(torch.empty(1, 1, 1, 1, 129, dtype=torch.float16), has_halo=True) == "reference"
    with pytest.raises(ValueError, match="heads of at most 128 channels; got 129"):
        implementation_for(torch.empty(1, 1, 1, 1, 129), "triton")


def test_a_mixer_says_that_triton_computed_it() -> None:
    mixer = build_mixer("halo", 8, (5, 6), num_heads=2, block_size=3, halo_size=1, implementation="triton")
    with used_implementations() as used:
        mixer(torch.randn(1, 5, 6, 8)).sum().backward()
    assert ("local_attention", "triton") in used


def test_compiled_graphs_hold_the_operator() -> None:
    case = CASES[2]
    tensors = case.tensors(torch.float32)
    attention: LocalAttention = case.attention("triton")
    compiled = torch.compile(attention, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(**tensors), attention(**tensors))
