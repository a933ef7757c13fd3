"""DCNv3 on the CPU: dcnv3.cpp, compiled on first use."""

import functools
import shutil
from pathlib import Path

import torch
from torch import Tensor

from .compiler import MissingImplementationError, compiled, load
from .geometry import Geometry, arithmetic

# Not -ffast-math: positions that are not numbers have to compare as such.
_OPTIONS = (
    *("-std=c++20", "-shared", "-fPIC", "-O3", "-march=native"),
    *("-Wno-psabi", "-fno-math-errno", "-fno-trapping-math"),
)


def build() -> Path:
    """Compiles the library, or finds it compiled.

    Raises:
        MissingImplementationError: there is no C++ compiler, or it fails.
    """
    compiler = next((found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))), None)
    if compiler is None:
        raise MissingImplementationError("no C++ compiler is on the path; install g++ or clang++")
    return compiled(Path(__file__).with_name("dcnv3.cpp"), (compiler, *_OPTIONS))


@functools.cache
def prepare() -> None:
    load(build())


def forward(value: Tensor, offsets: Tensor, weights: Tensor, geometry: Geometry) -> Tensor:
    prepare()
    output = value.new_empty((*offsets.shape[:3], value.shape[3]))
    torch.ops.stmbench_cpp.dcnv3(output, value, offsets, weights, *geometry.numbers)
    return output


def backward(
    grad: Tensor, value: Tensor, offsets: Tensor, weights: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor, Tensor]:
    prepare()
    grads = (
        torch.zeros(value.shape, dtype=arithmetic(value.dtype)),
        torch.empty_like(offsets),
        torch.empty_like(weights),
    )
    torch.ops.stmbench_cpp.dcnv3_backward(*grads, grad, value, offsets, weights, *geometry.numbers)
    return grads
