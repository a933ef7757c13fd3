"""Which code computes a call of local attention."""

import functools
import importlib
from types import ModuleType

import torch
from torch import Tensor

from .. import used
from ..compiler import MissingImplementationError, obstacle_on_cpu, obstacle_to
from ..eager import constant_in_graphs, takes_own_operators
from ..triton_launch import DEVICES
from . import cpp_kernels

IMPLEMENTATIONS = ("cpp", "triton", "reference")
_KINDS = {
    "cpp": (("cpu",), (torch.bfloat16, torch.float32, torch.float64)),
    "triton": (DEVICES, (torch.float16, torch.bfloat16, torch.float32)),
}
TRITONS_WIDEST_HEAD = 128  # for channels of more, a GPU's shared memory and registers have no room


def implementation_for(query: Tensor, implementation: str = "auto", *, has_halo: bool = False) -> str:
    """Name of the implementation that computes a call with this `query`, B, H, W, heads, d, for a result's record.

    `auto` is reference where another program than PyTorch is to read the operations (export, traces, torch.func), and
    where the faster implementation does not take the dtype or width or cannot be compiled (then the log says so once).
    Otherwise it is cpp on the CPU and, on a GPU, triton for windows with a halo. Nobody has timed that on a GPU: the
    choice rests on bytes. Reference copies every key into all windows that have it, 3.4 of them for blocks of 7 and a
    halo of 3, and writes their logits to memory; without a halo it copies at most what the shift rolls, and PyTorch's
    fused attention does the rest.

    Raises:
        ValueError: no such implementation, or not for this device, dtype or width of the heads.
        MissingImplementationError: the implementation that was asked for by name cannot run here; says why.
    """
    if implementation == "auto":
        return _fastest(query, has_halo=has_halo) if takes_own_operators() else "reference"
    if implementation not in IMPLEMENTATIONS:
        choices = ", ".join(IMPLEMENTATIONS)
        raise ValueError(f"local attention: implementation={implementation!r}: must be auto or one of {choices}")
    if implementation in _KINDS:
        _demand(implementation, query)
    return implementation


def module_of(name: str) -> ModuleType:
    """The module with `forward` and `backward` of an implementation that has them."""
    return importlib.import_module(f".{name}_kernels", __package__)


def _takes(name: str, query: Tensor) -> bool:
    devices, dtypes = _KINDS[name]
    return query.device.type in devices and query.dtype in dtypes


def _fastest(query: Tensor, *, has_halo: bool) -> str:
    if _takes("cpp", query) and _obstacle("cpp") is None:
        return "cpp"
    if has_halo and _takes("triton", query) and query.shape[-1] <= TRITONS_WIDEST_HEAD and _obstacle("triton") is None:
        return "triton"
    return "reference"


def _demand(name: str, query: Tensor) -> None:
    if not _takes(name, query):
        devices, dtypes = _KINDS[name]
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise ValueError(
            f"local attention: {name} is for {names} on {' or '.join(devices)}; got {query.dtype} on {query.device}"
        )
    if name == "triton" and query.shape[-1] > TRITONS_WIDEST_HEAD:
        raise ValueError(
            f"local attention: triton is for heads of at most {TRITONS_WIDEST_HEAD} channels; got {query.shape[-1]}"
        )
    if obstacle := _obstacle(name):
        raise MissingImplementationError(f"local attention: {name} cannot run here: {obstacle}")


@constant_in_graphs
def _obstacle(name: str) -> str | None:
    """Why an implementation cannot run on this machine, which the log says once; None if it can."""
    return obstacle_on_cpu(cpp_kernels.SOURCE) if name == "cpp" else _obstacle_to_triton()


@functools.cache
def _obstacle_to_triton() -> str | None:
    obstacle = obstacle_to(lambda: module_of("triton").prepare())
    if obstacle is not None:
        used.goes_without("local_attention", "triton", obstacle)
    return obstacle
