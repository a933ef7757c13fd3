"""What every implementation in Triton needs in order to be launched."""

import os
import shutil
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from .compiler import MissingImplementationError

# With this variable set, Triton runs kernels in Python, on the CPU, to have them checked.
DEVICES = ("cpu",) if os.environ.get("TRITON_INTERPRET") == "1" else ("cuda", "xpu")


def prepare() -> None:
    """Triton compiles when it is first called; its launchers need a C compiler then."""
    if not (os.environ.get("CC") or any(shutil.which(name) for name in ("gcc", "clang", "cc"))):
        raise MissingImplementationError("Triton needs a C compiler and none is on the path; install gcc or clang")


def device_of(tensor: Tensor) -> AbstractContextManager[None]:
    """Triton launches on the current device, whatever its arguments'."""
    return nullcontext() if tensor.device.index is None else torch.accelerator.device_index(tensor.device.index)
