"""Local attention in Triton without a GPU: interpreted it equals the reference, and it compiles for sm_80 and sm_90."""

from itertools import product

import pytest
import torch

pytest.importorskip("triton")
from mixers.kernels.local_attention import triton_kernels

from .test_local_attention import Case
from .triton_without_gpu import Recorder, assert_interpreted_tests_pass

MOST_SHARED_MEMORY = 99 * 2**10  # bytes, of a program on the GPUs that have least, sm_86 and sm_89


@pytest.mark.parametrize(
    "chosen",
    ["not equals_reference or float32 or 4-1-0", pytest.param("test", marks=pytest.mark.slow)],
    ids=["few", "all"],
)
def test_interpreted_equals_reference(chosen: str) -> None:
    assert_interpreted_tests_pass("interpreted_local_attention.py", chosen)


HALO = Case(7, 3, 0, "rows and columns", size=(56, 56), width=32)
SHIFTED = Case(7, 0, 3, "bias", size=(56, 56), width=32)
WIDE = Case(8, 4, 0, "all", size=(9, 100), width=128)
TINY = Case(3, 1, 0, "all", size=(1, 1), heads=1, width=1)


@pytest.mark.parametrize(
    ("case", "dtype", "architecture"),
    [
        (HALO, torch.bfloat16, 90),
        (SHIFTED, torch.float16, 80),
        *(
            pytest.param(case, dtype, architecture, marks=pytest.mark.slow)
            for case in (HALO, SHIFTED, WIDE, TINY)
            for dtype in (torch.bfloat16, torch.float16, torch.float32)
            for architecture in (80, 90)
        ),
    ],
    ids=str,
)
def test_compiles_without_a_gpu(
    case: Case, dtype: torch.dtype, architecture: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the launches of a call on such tensors would compile."""
    forward, backward = launches(case, dtype, monkeypatch)
    assert len(forward.launches) == 1
    for program in (forward, backward):
        binary = program.compiled(architecture)
        assert f".target sm_{architecture}" in binary.asm["ptx"]
        assert "atom." not in binary.asm["ptx"]  # sums have one order
        assert binary.asm["cubin"]
        assert binary.metadata.shared <= MOST_SHARED_MEMORY


def launches(case: Case, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    """Of the forward and the backward pass of a call on tensors without data."""
    recorders = []
    for name in ("forward_program", "backward_program"):
        recorders.append(Recorder(getattr(triton_kernels, name)))
        monkeypatch.setattr(triton_kernels, name, recorders[-1])
    tensors = {name: tensor.detach().to("meta") for name, tensor in case.tensors(dtype, batch=1).items()}
    maps = [tensors[name] for name in ("query", "key", "value")]
    bias = tensors.get("bias_table")
    if bias is not None:
        bias = case.geometry.bias(bias).transpose(1, 2).contiguous()
    added = [bias, tensors.get("row_table"), tensors.get("column_table")]
    output, log_sums = triton_kernels.forward(*maps, added, case.geometry)
    gradients = triton_kernels.backward(torch.empty_like(output), output, log_sums, *maps, added, case.geometry)
    for gradient, tensor in zip(gradients, (*maps, *added), strict=True):
        assert (gradient is None) == (tensor is None)
        assert tensor is None or gradient.shape == tensor.shape
    return recorders


@pytest.mark.parametrize(
    ("case", "count"),
    [(HALO, 4), (SHIFTED, 1), (TINY, 1), (WIDE, 16), (Case(3, 4, 0, "", size=(16, 16)), 16)],
    ids=str,
)
def test_blocks_whose_windows_overlap_are_differentiated_one_after_the_other(
    case: Case, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward = launches(case, torch.bfloat16, monkeypatch)[1]
    assert len(backward.launches) == count
    seen = []
    for arguments, constants in backward.launches:
        given = dict(zip(backward.kernel.arg_names, arguments, strict=False))
        lines, line, first_row, first_column, step = given["grid"]
        assert step >= constants["WINDOW"] or lines == line == 1
        assert given["blocks"] == lines * line
        for i, j in product(range(lines), range(line)):
            seen.append((first_row + i * step, first_column + j * step, given["tile"]))
    first = case.shift - case.block_size if case.shift else 0
    corners = product(*(range(first, size, case.block_size) for size in case.size))
    tiles = range(max(tile for *_, tile in seen) + 1)
    assert sorted(seen) == sorted((*corner, tile) for corner, tile in product(corners, tiles))


def test_float32_is_rounded_only_where_pytorch_may(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.backends.cuda.matmul.fp32_precision
    seen = []
    try:
        for precision in ("ieee", "tf32"):
            torch.backends.cuda.matmul.fp32_precision = precision
            seen += [recorder.launches[0][1]["PRECISION"] for recorder in launches(HALO, torch.float32, monkeypatch)]
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
    assert seen == ["ieee", "ieee", "tf32", "tf32"]
