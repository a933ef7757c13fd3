"""Softmax on the CPU: softmax.cpp, compiled on first use."""

from pathlib import Path

import torch
from torch import Tensor

from .. import used
from ..compiler import load_for_cpu

SOURCE = Path(__file__).with_name("softmax.cpp")
LONGEST = 64
DTYPES = (torch.float32, torch.float64)


def forward(x: Tensor) -> Tensor:
    load_for_cpu(SOURCE)
    used.note("softmax", "cpp")
    x = x.contiguous()
    output = torch.empty_like(x)
    torch.ops.stmbench_cpp.softmax(output, x)
    return output


def backward(grad: Tensor, output: Tensor) -> Tensor:
    load_for_cpu(SOURCE)
    grad, output = grad.contiguous(), output.contiguous()
    grad_x = torch.empty_like(output)
    torch.ops.stmbench_cpp.softmax_backward(grad_x, grad, output)
    return grad_x
