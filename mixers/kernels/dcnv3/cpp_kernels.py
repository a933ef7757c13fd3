"""DCNv3 on the CPU: dcnv3.cpp, compiled on first use."""

from pathlib import Path

import torch
from torch import Tensor

from ..compiler import load_for_cpu
from .geometry import Geometry, arithmetic

SOURCE = Path(__file__).with_name("dcnv3.cpp")


def prepare() -> None:
    load_for_cpu(SOURCE)


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
