"""The Triton implementation without a GPU: interpreted it equals the reference, and it compiles for sm_80 and sm_90."""

import pytest

triton = pytest.importorskip("triton")
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from mixers.kernels.dcnv3 import implementations  # noqa: E402

from .triton_without_gpu import assert_interpreted_tests_pass  # noqa: E402

TRITON = implementations.module_of("triton")


@pytest.mark.parametrize(
    "chosen",
    [
        "test_points_far_away_or_nowhere_add_nothing or (without_centre and mixed) or (unpadded and float32 and True)",
        pytest.param("test", marks=pytest.mark.slow),
    ],
    ids=["few", "all"],
)
def test_interpreted_equals_reference(chosen: str):
    assert_interpreted_tests_pass("interpreted_triton.py", chosen)


CONSTANTS = {
    "KERNEL_SIZE": 3,
    "DILATION": 1,
    "CENTRE": 1,
    "REMOVE_CENTRE": 1,
    "POINTS": 8,
    "BLOCK": 64,
    "WIDTH": 16,
    "INDEX": triton.language.int64,
}


@pytest.mark.parametrize("kernel", ["_forward_kernel", "_backward_kernel"])
@pytest.mark.parametrize("architecture", [80, pytest.param(90, marks=pytest.mark.slow)])
@pytest.mark.parametrize("repeatable", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("ones", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_compiles_without_a_gpu(kernel: str, architecture: int, repeatable: bool, ones: bool):
    function = getattr(TRITON, kernel)
    # Triton makes constants of arguments that are 1 or None.
    constants = CONSTANTS | dict.fromkeys(("stride", "map_rows", "groups") if ones else (), 1)
    constants |= {} if repeatable else {"factor": None}
    names = ("output", "value", "offsets", "weights", "grad_offsets", "grad_weights", "grad")
    pointers = dict.fromkeys(names, "*bf16")
    pointers |= {"factor": "*fp32", "sums": "*i64" if repeatable else "*fp32"}
    types = {
        name: "constexpr" if name in constants else pointers.get(name, "fp32" if name == "scale" else "i32")
        for name in function.arg_names
    }
    values = {(place,): constants[name] for place, name in enumerate(types) if name in constants}
    source = ASTSource(function, types, values)
    binary = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options={"enable_fp_fusion": True})
    assert f".target sm_{architecture}" in binary.asm["ptx"]
    assert binary.asm["cubin"]
