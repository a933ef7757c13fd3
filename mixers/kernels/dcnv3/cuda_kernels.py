"""DCNv3 on NVIDIA GPUs: dcnv3.cu, compiled on first use."""

import functools
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from ..compiler import MissingImplementationError, compiled, load
from . import fixed_point
from .geometry import Geometry

ARCHITECTURES = ("80", "86", "89", "90")
_PORTABLE = "90"  # for newer ones the driver compiles from this one's intermediate code


def build(architectures: Iterable[str] = ARCHITECTURES) -> Path:
    """Compiles the library, which needs no GPU, or finds it compiled.

    Raises:
        MissingImplementationError: there is no CUDA compiler, or it fails.
    """
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    compiler = shutil.which("nvcc") or shutil.which("nvcc", path=f"{home}/bin")
    if compiler is None:
        raise MissingImplementationError(
            "no CUDA compiler is on the path or in CUDA_HOME; install the CUDA toolkit (nvcc)"
        )
    targets = [f"-gencode=arch=compute_{target},code=sm_{target}" for target in architectures]
    targets.append(f"-gencode=arch=compute_{_PORTABLE},code=compute_{_PORTABLE}")
    options = ("-std=c++20", "-shared", "-Xcompiler=-fPIC", "-O3", "--threads=0")
    return compiled(Path(__file__).with_name("dcnv3.cu"), (compiler, *options, *targets))


@functools.cache
def prepare() -> None:
    """Loads the library and tries it on one pixel: a GPU or driver that it does not suit is found now."""
    capability = torch.cuda.get_device_capability()
    if capability < (8, 0):
        raise MissingImplementationError(
            f"the GPU has compute capability {capability}, the kernel needs (8, 0) or newer"
        )
    load(build())
    value, weights, offsets = (torch.zeros(shape, device="cuda") for shape in ((1,) * 4, (1,) * 5, (1,) * 5 + (2,)))
    try:
        torch.ops.stmbench_cuda.dcnv3(torch.empty_like(value), value, offsets, weights, 1, 1, 0, 1, 1.0, False, 0)
        torch.cuda.synchronize()
    except RuntimeError as error:
        raise MissingImplementationError(f"the compiled kernel does not run on this GPU and driver: {error}") from error


def forward(value: Tensor, offsets: Tensor, weights: Tensor, geometry: Geometry) -> Tensor:
    prepare()
    output = value.new_empty((*offsets.shape[:3], value.shape[3]))
    inputs = (_aligned(tensor) for tensor in (value, offsets, weights))
    with torch.cuda.device(value.device):
        torch.ops.stmbench_cuda.dcnv3(output, *inputs, *geometry.numbers, torch.cuda.current_stream().cuda_stream)
    return output


def backward(
    grad: Tensor, value: Tensor, offsets: Tensor, weights: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor, Tensor]:
    prepare()
    factor = fixed_point.factor_for(grad, weights) if torch.are_deterministic_algorithms_enabled() else None
    sums = torch.zeros(value.shape, dtype=torch.float32 if factor is None else torch.int64, device=value.device)
    grad_offsets, grad_weights = torch.empty_like(offsets), torch.empty_like(weights)
    inputs = (_aligned(tensor) for tensor in (grad, value, offsets, weights))
    with torch.cuda.device(value.device):
        torch.ops.stmbench_cuda.dcnv3_backward(
            *(sums, grad_offsets, grad_weights, *inputs, factor),
            *(*geometry.numbers, torch.cuda.current_stream().cuda_stream),
        )
    return sums if factor is None else fixed_point.to_float(sums, factor), grad_offsets, grad_weights


def _aligned(tensor: Tensor) -> Tensor:
    """The tensor where vectors of 16 bytes can be loaded from it: a view may start anywhere."""
    return tensor if tensor.data_ptr() % 16 == 0 else tensor.clone()
