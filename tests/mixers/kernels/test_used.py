"""What a measurement is told of the code that ran."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from architectures.mlp import MLP
from mixers import build_mixer
from mixers.kernels.depthwise import depthwise_conv
from mixers.kernels.gelu import gelu
from mixers.kernels.involution import involution
from mixers.kernels.linear import Linear
from mixers.kernels.local_attention import LocalAttention
from mixers.kernels.patches import PatchConv2d
from mixers.kernels.residual import residual
from mixers.kernels.softmax import softmax
from mixers.kernels.used import by_operation, missing, note, summary, used_implementations


def test_what_is_noted_is_heard_inside_only() -> None:
    with used_implementations() as outer:
        note("a", "cpp")
        with used_implementations() as inner:
            note("b", "cpp")
    note("c", "cpp")
    assert outer == {("a", "cpp"), ("b", "cpp")}
    assert inner == {("b", "cpp")}


def test_the_summary_names_operations_only_where_they_differ() -> None:
    assert summary(set()) == ""
    assert summary({("dcnv3", "cpp"), ("softmax", "cpp")}) == "cpp"
    assert summary({("softmax", "cpp"), ("dcnv3", "reference")}) == "dcnv3 reference, softmax cpp"


def test_a_mixer_tells_what_it_was_asked_for() -> None:
    mixer = build_mixer("dcnv3", 16, (5, 6), groups=1, implementation="reference")
    with used_implementations() as used:
        mixer(torch.randn(1, 5, 6, 16)).sum().backward()
    assert ("dcnv3", "reference") in used
    assert ("dcnv3", "cpp") not in used


def large(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


OPERATIONS: dict[str, Callable[[torch.dtype], object]] = {
    "depthwise": lambda dtype: depthwise_conv(large(1, 9, 9, 4).to(dtype), large(4, 7, 7).to(dtype)),
    "gelu": lambda dtype: gelu(large(1, 32, 32, 16).to(dtype)),
    "linear": lambda dtype: Linear(512, 512).to(dtype)(large(64, 512).to(dtype)),
    "local_attention": lambda dtype: LocalAttention(4)(*large(3, 1, 8, 8, 2, 8).to(dtype)),
    "patches": lambda dtype: PatchConv2d(64, 512, 4).to(dtype)(large(1, 32, 32, 64).to(dtype)),
    "residual": lambda dtype: residual(*large(2, 1, 32, 32, 16).to(dtype)),
    "softmax": lambda dtype: softmax(large(8, 9).to(dtype), dtype),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_notes_what_computes_it(operation: str) -> None:
    """float32 is computed by something of ours, float16 by PyTorch."""
    fast = "onednn" if operation in ("linear", "patches") else "cpp"
    for dtype, implementation in ((torch.float32, fast), (torch.float16, "reference")):
        with torch.no_grad(), used_implementations() as used:
            OPERATIONS[operation](dtype)
        assert (operation, implementation) in used


def test_what_is_compiled_notes_it_when_it_is_compiled() -> None:
    torch.compiler.reset()
    mlp = torch.compile(MLP(16, 4), backend="eager", fullgraph=True)
    with used_implementations() as used:
        mlp(large(1, 4, 4, 16))
    assert used == {("linear", "reference"), ("gelu", "reference")}


def test_what_has_one_implementation_is_noted_too() -> None:
    with used_implementations() as used:
        involution(large(1, 5, 6, 4), large(1, 5, 6, 2 * 9), 3)
    assert used == {("involution", "reference")}


def test_layers_that_are_done_at_once_note_all_of_them() -> None:
    with torch.no_grad(), used_implementations() as used:
        MLP(64, 4)(large(1, 32, 32, 64))
    assert used == {("linear", "onednn"), ("gelu", "onednn")}
    assert by_operation(used | {("gelu", "cpp")}) == {"gelu": ["cpp", "onednn"], "linear": ["onednn"]}


@pytest.mark.usefixtures("no_compiler")
def test_what_cannot_be_built_is_said_once_and_known_for_the_record(caplog: pytest.LogCaptureFixture) -> None:
    with used_implementations() as used:
        for operation in ("gelu", "residual", "softmax", "gelu"):
            OPERATIONS[operation](torch.float32)
    assert used == {(operation, "reference") for operation in ("gelu", "residual", "softmax")}
    why = "no C++ compiler is on the path"
    assert [record.message for record in caplog.records] == [
        f"gelu, and all that needs the same, goes without its cpp implementation: {why}"
    ]
    assert missing(used) == {f"{operation} cpp": why for operation in ("gelu", "residual", "softmax")}
    assert missing({("gelu", "reference")}) == {"gelu cpp": why}
