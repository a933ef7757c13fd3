"""The CUDA implementation without a GPU: its source compiles with nvcc, and run on the CPU it equals the reference."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mixers.kernels.compiler import compiled
from mixers.kernels.dcnv3 import IMPLEMENTATIONS, Implementation, dcnv3, implementations

from .cases import CASES, Case, assert_equals_reference

SOURCE = Path(implementations.__file__).with_name("dcnv3.cu")
EMULATION = Path(__file__).with_name("cuda_on_cpu.h")
TOOLKIT = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
CUDA = implementations.module_of("cuda")


@pytest.fixture(scope="module")
def cuda_on_cpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`implementation="cuda"` runs the source on the CPU: cuda_on_cpu.h stands in for a GPU of architecture 9.0."""
    headers = TOOLKIT / "include" / "cuda_runtime.h"
    if shutil.which("c++") is None or not headers.exists():
        pytest.skip("no C++ compiler or no CUDA toolkit here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STMBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        options = ("-std=c++20", "-O1", "-shared", "-fPIC", f"-I{headers.parent}", "-DEMULATED_ARCHITECTURE=900")
        library = compiled(SOURCE, (shutil.which("c++"), "-x", "c++", *options, "-include", str(EMULATION)))
        torch.ops.load_library(library)
        dtypes = IMPLEMENTATIONS["cuda"].dtypes
        patch.setitem(IMPLEMENTATIONS, "cuda", Implementation("cuda_kernels", ("cpu",), dtypes))
        patch.setattr(CUDA, "prepare", lambda: None)
        patch.setattr(torch.cuda, "device", lambda device: nullcontext())
        patch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
        implementations._obstacle.cache_clear()
        yield
    implementations._obstacle.cache_clear()


@pytest.fixture(params=[False, True], ids=["any_order", "repeatable"])
def repeatable(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(request.param)
    yield
    torch.use_deterministic_algorithms(before)


# Threads that meet in every sum over a warp take seconds for 25 points and more.
EMULATED_CASES = [pytest.param(case, marks=[pytest.mark.slow] * (case.kernel_size > 3)) for case in CASES]


@pytest.mark.usefixtures("cuda_on_cpu", "repeatable")
@pytest.mark.parametrize("case", EMULATED_CASES, ids=str)
@pytest.mark.parametrize(
    ("dtype", "weights_dtype"),
    [
        (torch.float32, torch.float32),
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.bfloat16),
        (torch.bfloat16, torch.float32),
    ],
    ids=str,
)
def test_equals_reference(case: Case, dtype: torch.dtype, weights_dtype: torch.dtype):
    assert_equals_reference(case, "cuda", dtype, weights_dtype)


@pytest.mark.usefixtures("cuda_on_cpu")
def test_group_wider_than_a_warp_of_vectors():
    case = Case("wide", (2, 3), groups=1, width=148, kernel_size=1, padding=0, batch=1)
    assert_equals_reference(case, "cuda", torch.float32, torch.float32)


@pytest.mark.usefixtures("cuda_on_cpu")
@pytest.mark.parametrize("offset", [1e30, 3e9, float("-inf"), float("nan")])
def test_points_far_away_or_nowhere_add_nothing(offset: float):
    case = CASES[0]
    value, offsets, weights = case.tensors(torch.float32)
    with torch.no_grad():
        offsets[..., 4, 0] = offset
    outputs = [dcnv3(value, offsets, weights, **case.options, implementation=name) for name in ("cuda", "reference")]
    torch.testing.assert_close(*outputs)
    grads = [torch.autograd.grad(output.sum(), (value, offsets, weights)) for output in outputs]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("cuda_on_cpu")
def test_a_view_that_starts_anywhere_is_read_right():
    """Vectors of 16 bytes have to start at a multiple of 16."""
    case = CASES[0]
    inputs = [tensor.detach() for tensor in case.tensors(torch.float32)]
    shifted = [torch.cat((torch.zeros(1), tensor.flatten()))[1:].view(tensor.shape) for tensor in inputs]
    assert any(tensor.data_ptr() % 16 for tensor in shifted)
    wanted = dcnv3(*inputs, **case.options, implementation="cuda")
    assert torch.equal(dcnv3(*shifted, **case.options, implementation="cuda"), wanted)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None and not (TOOLKIT / "bin/nvcc").exists(), reason="no nvcc here")
@pytest.mark.parametrize("architectures", [("90",), CUDA.ARCHITECTURES], ids=str)
def test_compiles_and_loads_without_a_gpu(architectures: tuple[str, ...], tmp_path: Path, monkeypatch):
    monkeypatch.setenv("STMBENCH_CACHE", str(tmp_path))
    library = CUDA.build(architectures)
    code = {
        architecture for architecture in CUDA.ARCHITECTURES if f"sm_{architecture}".encode() in library.read_bytes()
    }
    assert code == set(architectures)
    load = f"import torch; torch.ops.load_library({str(library)!r}); print(torch.ops.stmbench_cuda.dcnv3_backward)"
    outcome = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, check=True)
    assert "dcnv3_backward" in outcome.stdout
