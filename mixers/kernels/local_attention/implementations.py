"""Which code computes a call of local attention."""

import torch
from torch import Tensor

from ..compiler import MissingImplementationError, obstacle_on_cpu, runs_on_cpu
from ..eager import takes_own_operators
from . import cpp_kernels

IMPLEMENTATIONS = ("cpp", "reference")
CPP_DTYPES = (torch.bfloat16, torch.float32, torch.float64)


def implementation_for(query: Tensor, implementation: str = "auto") -> str:
    """Name of the implementation that computes a call with this `query`, for a result's record.

    `auto` is cpp on the CPU, in a dtype that it has and where it can be compiled (if not, the log says so once), and
    reference elsewhere and where another program than PyTorch is to read the operations (export, traces, torch.func).

    Raises:
        ValueError: no such implementation, or not for this device or dtype.
        MissingImplementationError: cpp was asked for by name and cannot be compiled here; says why.
    """
    if implementation not in ("auto", *IMPLEMENTATIONS):
        choices = ", ".join(IMPLEMENTATIONS)
        raise ValueError(f"local attention: implementation={implementation!r}: must be auto or one of {choices}")
    takes = query.device.type == "cpu" and query.dtype in CPP_DTYPES
    if implementation == "auto":
        return "cpp" if takes and takes_own_operators() and runs_on_cpu(cpp_kernels.SOURCE) else "reference"
    if implementation == "cpp":
        if not takes:
            raise ValueError(f"local attention: cpp is for {CPP_DTYPES} on cpu; got {query.dtype} on {query.device}")
        if obstacle := obstacle_on_cpu(cpp_kernels.SOURCE):
            raise MissingImplementationError(f"local attention: cpp cannot run here: {obstacle}")
    return implementation
