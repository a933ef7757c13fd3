"""The selective scan on the CPU: selective_scan.cpp, compiled on first use."""

from pathlib import Path

import torch
from torch import Tensor

from ..compiler import load_for_cpu
from .reference import Gradients, arithmetic

SOURCE = Path(__file__).with_name("selective_scan.cpp")
# Channels of an image that one task differentiates: more of them need less memory for sums over channels, fewer keep
# more threads busy. A multiple of every vector's lanes.
CHANNELS_OF_TASK = 64


def prepare() -> None:
    load_for_cpu(SOURCE)


def forward(*inputs: Tensor) -> Tensor:
    prepare()
    inputs = _in_one_dtype(*inputs)
    output = torch.empty_like(inputs[0])
    torch.ops.stmbench_cpp.selective_scan(output, *inputs)
    return output


def backward(grad: Tensor, *inputs: Tensor) -> Gradients:
    prepare()
    x, delta, delta_bias, a, b, c, d = _in_one_dtype(*inputs)
    batch, channels = x.shape[0], x.shape[3]
    tasks = -(-channels // CHANNELS_OF_TASK)
    # What several images or tasks add to has a place for each of them: sums then have one order.
    grads = (
        torch.empty_like(x),
        torch.empty_like(delta),
        delta_bias.new_empty(batch, *delta_bias.shape),
        a.new_empty(batch, *a.shape),
        b.new_zeros(tasks, *b.shape),
        c.new_zeros(tasks, *c.shape),
        d.new_empty(batch, *d.shape),
    )
    torch.ops.stmbench_cpp.selective_scan_backward(*grads, grad, x, delta, delta_bias, a, b, c, d, CHANNELS_OF_TASK)
    return *grads[:2], *(sums.sum(0) for sums in grads[2:])


def _in_one_dtype(*inputs: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.to(arithmetic(inputs[0].dtype)) for tensor in inputs)
