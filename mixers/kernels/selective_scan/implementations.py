"""Which code computes a selective scan: one table, and the rule by which `auto` chooses from it.

An implementation is a module with `forward` and `backward` as in reference.py, and with `prepare()`, which raises
MissingImplementationError where it cannot run. It gets contiguous tensors that are not empty and may return gradients
in the dtype of its arithmetic.
"""

import functools
import importlib
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from .. import triton_launch, used
from ..compiler import MissingImplementationError, obstacle_to


@dataclass(frozen=True)
class Implementation:
    """What an implementation is able to compute where it is present. None means anything."""

    module: str
    devices: tuple[str, ...] | None
    dtypes: tuple[torch.dtype, ...] | None

    def takes(self, x: Tensor) -> bool:
        on_device = self.devices is None or x.device.type in self.devices
        return on_device and (self.dtypes is None or x.dtype in self.dtypes)


_HALVES = (torch.float16, torch.bfloat16)
# From the fastest to the one that always works: `auto` takes the first that takes the map and is present.
IMPLEMENTATIONS = {
    "cpp": Implementation("cpp_kernels", ("cpu",), (*_HALVES, torch.float32, torch.float64)),
    "triton": Implementation("triton_kernels", triton_launch.DEVICES, (*_HALVES, torch.float32)),
    "reference": Implementation("reference", None, None),
}


def implementation_for(x: Tensor, implementation: str = "auto") -> str:
    """Name of the implementation that computes a scan of this map `x`, for a result's record.

    `auto` depends on the device and dtype of `x` and on what this machine has. Where a faster implementation is
    missing, the log says so once.

    Raises:
        ValueError: no such implementation, or not for this device or dtype.
        MissingImplementationError: the implementation that was asked for by name cannot run here; says why.
    """
    if implementation != "auto":
        _demand(implementation, x)
        return implementation
    for name, candidate in IMPLEMENTATIONS.items():
        if candidate.takes(x):
            obstacle = _obstacle(name)
            if obstacle is None:
                return name
            used.goes_without("selective_scan", name, obstacle)
    raise AssertionError("the reference takes every tensor")


def module_of(name: str) -> ModuleType:
    """The module of an implementation."""
    return importlib.import_module(f".{IMPLEMENTATIONS[name].module}", __package__)


def _demand(name: str, x: Tensor) -> None:
    if name not in IMPLEMENTATIONS:
        choices = ", ".join(IMPLEMENTATIONS)
        raise ValueError(f"selective_scan: implementation={name!r}: must be auto or one of {choices}")
    wanted = IMPLEMENTATIONS[name]
    if not wanted.takes(x):
        dtypes = ", ".join(str(dtype).removeprefix("torch.") for dtype in wanted.dtypes or ())
        raise ValueError(
            f"selective_scan: implementation={name!r} is for {dtypes} on {' or '.join(wanted.devices or ())}; got "
            f"{x.dtype} on {x.device.type}"
        )
    obstacle = _obstacle(name)
    if obstacle is not None:
        raise MissingImplementationError(f"selective_scan: implementation={name!r} cannot run here: {obstacle}")


@functools.cache
def _obstacle(name: str) -> str | None:
    """Why an implementation cannot run on this machine; None if it can."""
    return None if name == "reference" else obstacle_to(lambda: module_of(name).prepare())
