"""What the C++ kernels for one pass over maps, each number by itself, have in common."""

from pathlib import Path

import torch
from torch import Tensor

from .compiler import runs_on_cpu
from .eager import computed_now_on_cpu

FEWEST = 2**14
"""Fewer numbers than this are done sooner by PyTorch's operations, whose calls cost less."""
PARTS = 32
"""Groups of rows that are summed apart: the sums do not depend on the number of threads, of which so many are busy."""


def takes(source: Path, *tensors: Tensor) -> bool:
    """Whether the C++ file `source` computes an operation on float32 `tensors`, of which the first is the largest."""
    # A graph must not depend on sizes, so it comes first that one is made.
    if not computed_now_on_cpu(*tensors) or any(tensor.dtype != torch.float32 for tensor in tensors):
        return False
    return tensors[0].numel() >= FEWEST and runs_on_cpu(source)


def rows(x: Tensor) -> Tensor:
    """..., C -> contiguous n, C."""
    # A reshape alone may be a view of memory that is expanded or has gaps, which the C++ code would not know.
    return x.reshape(-1, x.shape[-1]).contiguous()
