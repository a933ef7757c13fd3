"""Which code computes a DCNv3 call: one table, and the rule by which `auto` chooses from it.

An implementation is a module with `prepare()`, which raises MissingImplementationError where it cannot run, and
`forward` and `backward` as in reference.py. It gets contiguous tensors that are not empty, offsets and weights of one
dtype, and may return gradients in the dtype of its arithmetic.
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

    def takes(self, value: Tensor) -> bool:
        on_device = self.devices is None or value.device.type in self.devices
        return on_device and (self.dtypes is None or value.dtype in self.dtypes)


# From the fastest to the one that always works: `auto` takes the first that takes the tensor and is present.
IMPLEMENTATIONS = {
    "cpp": Implementation("cpp_kernels", ("cpu",), (torch.bfloat16, torch.float32, torch.float64)),
    "cuda": Implementation("cuda_kernels", ("cuda",), (torch.float16, torch.bfloat16, torch.float32)),
    "triton": Implementation("triton_kernels", triton_launch.DEVICES, (torch.float16, torch.bfloat16, torch.float32)),
    "reference": Implementation("reference", None, None),
}


def implementation_for(value: Tensor, implementation: str = "auto") -> str:
    """Name of the implementation that computes a call with this `value`, for a result's record.

    `auto` depends on the device and dtype of `value` and on what this machine has; the first question about a device
    compiles its kernel, or finds it compiled. Where a faster implementation is missing, the log says so once.

    Raises:
        ValueError: no such implementation, or not for this device or dtype.
        MissingImplementationError: the implementation that was asked for by name cannot run here; says why.
    """
    if implementation != "auto":
        _demand(implementation, value)
        return implementation
    for name, candidate in IMPLEMENTATIONS.items():
        if candidate.takes(value):
            obstacle = _obstacle(name)
            if obstacle is None:
                return name
            used.goes_without("dcnv3", name, obstacle)
    raise AssertionError("the reference takes every tensor")


def module_of(name: str) -> ModuleType:
    """The module of an implementation."""
    return importlib.import_module(f".{IMPLEMENTATIONS[name].module}", __package__)


def _demand(name: str, value: Tensor) -> None:
    if name not in IMPLEMENTATIONS:
        raise ValueError(f"dcnv3: implementation={name!r}: must be auto or one of {', '.join(IMPLEMENTATIONS)}")
    wanted = IMPLEMENTATIONS[name]
    if not wanted.takes(value):
        dtypes = ", ".join(str(dtype).removeprefix("torch.") for dtype in wanted.dtypes or ())
        raise ValueError(
            f"dcnv3: implementation={name!r} is for {dtypes} on {' or '.join(wanted.devices or ())}; got {value.dtype} "
            f"on {value.device.type}"
        )
    obstacle = _obstacle(name)
    if obstacle is not None:
        raise MissingImplementationError(f"dcnv3: implementation={name!r} cannot run here: {obstacle}")


@functools.cache
def _obstacle(name: str) -> str | None:
    """Why an implementation cannot run on this machine; None if it can."""
    return None if name == "reference" else obstacle_to(lambda: module_of(name).prepare())
