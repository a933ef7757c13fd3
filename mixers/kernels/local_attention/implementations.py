"""Which code computes a call of local attention."""

import functools
import logging

import torch
from torch import Tensor

from ..compiler import MissingImplementationError
from ..eager import traced
from . import cpp_kernels

logger = logging.getLogger(__name__)

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
        compiling = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
        return "cpp" if takes and (compiling or not traced()) and _is_present() else "reference"
    if implementation == "cpp":
        if not takes:
            raise ValueError(f"local attention: cpp is for {CPP_DTYPES} on cpu; got {query.dtype} on {query.device}")
        if obstacle := _obstacle():
            raise MissingImplementationError(f"local attention: cpp cannot run here: {obstacle}")
    return implementation


@torch.compiler.assume_constant_result
def _is_present() -> bool:
    return _obstacle() is None


@functools.cache
def _obstacle() -> str | None:
    """Why cpp cannot run on this machine; None if it can."""
    try:
        cpp_kernels.prepare()
    except MissingImplementationError as error:
        logger.warning("local attention on cpu goes without its cpp implementation: %s", error)
        return str(error)
    return None
