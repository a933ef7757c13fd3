"""Softmax on the CPU: softmax.cpp, compiled on first use."""

import functools
import logging
from pathlib import Path

import torch
from torch import Tensor

from .. import used
from ..compiler import MissingImplementationError, compiled_for_cpu, load

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("softmax.cpp")
LONGEST = 64
DTYPES = (torch.float32, torch.float64)


@functools.cache
def prepare() -> None:
    load(compiled_for_cpu(SOURCE))


@functools.cache
def present() -> bool:
    """Whether the library can be compiled and loaded; if not, the log says why, once."""
    try:
        prepare()
    except MissingImplementationError as error:
        logger.warning("softmax on cpu goes without its cpp implementation: %s", error)
        return False
    return True


def forward(x: Tensor) -> Tensor:
    prepare()
    used.note("softmax", "cpp")
    x = x.contiguous()
    output = torch.empty_like(x)
    torch.ops.stmbench_cpp.softmax(output, x)
    return output


def backward(grad: Tensor, output: Tensor) -> Tensor:
    prepare()
    grad, output = grad.contiguous(), output.contiguous()
    grad_x = torch.empty_like(output)
    torch.ops.stmbench_cpp.softmax_backward(grad_x, grad, output)
    return grad_x
