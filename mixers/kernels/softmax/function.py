"""What mixers call, and which code computes it."""

import torch
from torch import Tensor

from .. import used
from ..compiler import runs_on_cpu
from ..eager import takes_own_operators
from . import cpp_kernels
from .operator import SOFTMAX


def softmax(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x.softmax(-1, dtype)`.

    On the CPU, in float32 and float64 and for up to 64 places, softmax.cpp computes it, where it can be compiled. What
    another program than PyTorch is to read consists of PyTorch's functions.
    """
    if _takes(x, dtype):
        return SOFTMAX(x.to(dtype))
    used.note("softmax", used.REFERENCE)
    return x.softmax(-1, dtype)


def _takes(x: Tensor, dtype: torch.dtype) -> bool:
    if x.device.type != "cpu" or dtype not in cpp_kernels.DTYPES or x.shape[-1] > cpp_kernels.LONGEST:
        return False
    return takes_own_operators() and runs_on_cpu(cpp_kernels.SOURCE)
