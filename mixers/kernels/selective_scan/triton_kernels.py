# ruff: noqa: ANN001, ANN202, N803  (Triton's kernels have no types, and constants are upper case by its convention)
"""The selective scan on any GPU that Triton compiles for; paths.py has the four paths, reference.py the formula.

A program takes some channels of an image along one path, in blocks of steps: inside a block all steps at once, as an
associative scan, from block to block one after the other. Paths, and groups of channels, write sums of their own, which
PyTorch adds up: sums have one order.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..triton_launch import device_of, prepare
from .paths import PATHS
from .reference import Gradients

__all__ = ["backward", "forward", "prepare"]

_ELEMENTS = 1024  # steps x channels x states of a block: 8 for each of a program's 128 threads
_MOST_CHANNELS = 32


def forward(x: Tensor, delta: Tensor, delta_bias: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    outputs = delta.new_empty(delta.shape, dtype=torch.float32)
    grid, sizes = _launch(x, a)
    with device_of(x):
        forward_program[grid](outputs, None, x, delta, delta_bias, a, b, c, d, **sizes)
    return outputs.sum(0)


def backward(
    grad: Tensor, x: Tensor, delta: Tensor, delta_bias: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor
) -> Gradients:
    grid, sizes = _launch(x, a)
    batch = x.shape[0]

    def sums(*shape: int) -> Tensor:
        return x.new_empty(shape, dtype=torch.float32)

    before = sums(PATHS, batch, triton.cdiv(sizes["pixels"], sizes["STEPS"]), *a.shape[1:])
    grad_x, grad_delta = sums(*delta.shape), torch.empty_like(delta)
    grad_bias, grad_a, grad_d = (sums(PATHS, batch, *each.shape[1:]) for each in (delta_bias, a, d))
    grad_b, grad_c = (sums(grid[1], *each.shape) for each in (b, c))
    inputs = (x, delta, delta_bias, a, b, c, d)
    with device_of(x):
        forward_program[grid](None, before, *inputs, **sizes)
        backward_program[grid](
            grad_x, grad_delta, grad_bias, grad_a, grad_b, grad_c, grad_d, grad, before, *inputs, **sizes
        )
    return grad_x.sum(0), grad_delta, grad_bias.sum(1), grad_a.sum(1), grad_b.sum(0), grad_c.sum(0), grad_d.sum(1)


def _launch(x: Tensor, a: Tensor) -> tuple[tuple[int, int], dict[str, Any]]:
    """Programs for paths and images, and for groups of channels; and the arguments that both kernels share."""
    batch, rows, columns, width = x.shape
    states = a.shape[-1]
    padded_states = triton.next_power_of_2(states)
    channels = min(_MOST_CHANNELS, triton.next_power_of_2(width))
    numbers = PATHS * x.numel() + PATHS * batch * rows * columns * states
    sizes = {
        "batch": batch,
        "rows": rows,
        "columns": columns,
        "pixels": rows * columns,
        "width": width,
        "states": states,
        "STEPS": max(2, _ELEMENTS // (channels * padded_states)),
        "CHANNELS": channels,
        "STATES": padded_states,
        "INDEX": tl.int64 if numbers >= 2**31 else tl.int32,
        "enable_fp_fusion": True,
    }
    return (PATHS * batch, triton.cdiv(width, channels)), sizes


@triton.jit
def _then(first_decay, first, second_decay, second):
    """Two steps of a recurrence as one: h -> decay h + entering."""
    return first_decay * second_decay, second_decay * first + second


@triton.jit
def _softplus(x):
    return tl.maximum(x, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(x)))


@triton.jit
def _pixels(path, step, rows, columns, pixels):
    """Where a path is at each step."""
    forwards = tl.where(path < 2, step, pixels - 1 - step)
    return tl.where(path % 2 == 0, forwards, forwards % rows * columns + forwards // rows)


@triton.jit
def forward_program(
    outputs,
    before,
    x,
    delta,
    delta_bias,
    a,
    b,
    c,
    d,
    batch,
    rows,
    columns,
    pixels,
    width,
    states,
    STEPS: tl.constexpr,
    CHANNELS: tl.constexpr,
    STATES: tl.constexpr,
    INDEX: tl.constexpr,
):
    """Writes the path's outputs, or else the states before each block."""
    own = tl.program_id(0).to(INDEX)  # of the path and image
    path = own // batch
    image = own % batch
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    of_width = channel < width
    state = tl.arange(0, STATES)
    of_states = of_width[:, None] & (state < states)[None, :]
    learned = path * width + channel
    bias = tl.load(delta_bias + learned, mask=of_width, other=0.0)
    rate = tl.load(a + learned[:, None] * states + state[None, :], mask=of_states, other=0.0)
    if outputs is not None:
        skip = tl.load(d + learned, mask=of_width, other=0.0)

    h = tl.zeros((CHANNELS, STATES), tl.float32)
    place = tl.arange(0, STEPS)
    for block in range(tl.cdiv(pixels, STEPS)):
        step = block * STEPS + place
        exists = step < pixels
        pixel = _pixels(path, step, rows, columns, pixels)
        numbers = exists[:, None] & of_width[None, :]
        at = (image * pixels + pixel)[:, None] * width + channel[None, :]
        at_own = (own * pixels + pixel)[:, None] * width + channel[None, :]
        at_state = (own * pixels + pixel)[:, None] * states + state[None, :]
        has_state = exists[:, None] & (state < states)[None, :]
        value = tl.load(x + at, mask=numbers, other=0.0).to(tl.float32)
        size = tl.load(delta + at_own, mask=numbers, other=0.0).to(tl.float32)
        size = tl.where(numbers, _softplus(size + bias[None, :]), 0.0)
        enters = tl.load(b + at_state, mask=has_state, other=0.0).to(tl.float32)
        decay = tl.exp(size[:, :, None] * rate[None, :, :])
        entering = (size * value)[:, :, None] * enters[:, None, :]
        decays, inside = tl.associative_scan((decay, entering), 0, _then)
        reached = decays * h[None, :, :] + inside
        if outputs is not None:
            reads = tl.load(c + at_state, mask=has_state, other=0.0).to(tl.float32)
            y = tl.sum(reached * reads[:, None, :], 2) + skip[None, :] * value
            tl.store(outputs + at_own, y, mask=numbers)
        else:
            own_block = (own * tl.cdiv(pixels, STEPS) + block) * width + channel
            tl.store(before + own_block[:, None] * states + state[None, :], h, mask=of_states)
        h = tl.sum(tl.where((place == STEPS - 1)[:, None, None], reached, 0.0), 0)


@triton.jit
def backward_program(
    grad_x,
    grad_delta,
    grad_bias,
    grad_a,
    grad_b,
    grad_c,
    grad_d,
    grad,
    before,
    x,
    delta,
    delta_bias,
    a,
    b,
    c,
    d,
    batch,
    rows,
    columns,
    pixels,
    width,
    states,
    STEPS: tl.constexpr,
    CHANNELS: tl.constexpr,
    STATES: tl.constexpr,
    INDEX: tl.constexpr,
):
    """From the last block to the first, each block's states anew from those before it."""
    own = tl.program_id(0).to(INDEX)
    path = own // batch
    image = own % batch
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    of_width = channel < width
    state = tl.arange(0, STATES)
    of_states = of_width[:, None] & (state < states)[None, :]
    learned = path * width + channel
    bias = tl.load(delta_bias + learned, mask=of_width, other=0.0)
    rate = tl.load(a + learned[:, None] * states + state[None, :], mask=of_states, other=0.0)
    skip = tl.load(d + learned, mask=of_width, other=0.0)
    group = tl.program_id(1).to(INDEX) * tl.num_programs(0) * pixels * states

    of_bias = tl.zeros((CHANNELS,), tl.float32)
    of_skip = tl.zeros((CHANNELS,), tl.float32)
    of_rate = tl.zeros((CHANNELS, STATES), tl.float32)
    of_h = tl.zeros((CHANNELS, STATES), tl.float32)  # of the state behind the block
    place = tl.arange(0, STEPS)
    blocks = tl.cdiv(pixels, STEPS)
    for number in range(blocks):
        block = blocks - 1 - number
        step = block * STEPS + place
        exists = step < pixels
        pixel = _pixels(path, step, rows, columns, pixels)
        numbers = exists[:, None] & of_width[None, :]
        at = (image * pixels + pixel)[:, None] * width + channel[None, :]
        at_own = (own * pixels + pixel)[:, None] * width + channel[None, :]
        at_state = (own * pixels + pixel)[:, None] * states + state[None, :]
        has_state = exists[:, None] & (state < states)[None, :]
        value = tl.load(x + at, mask=numbers, other=0.0).to(tl.float32)
        of_y = tl.load(grad + at, mask=numbers, other=0.0).to(tl.float32)
        raw = tl.load(delta + at_own, mask=numbers, other=0.0).to(tl.float32) + bias[None, :]
        size = tl.where(numbers, _softplus(raw), 0.0)
        enters = tl.load(b + at_state, mask=has_state, other=0.0).to(tl.float32)
        reads = tl.load(c + at_state, mask=has_state, other=0.0).to(tl.float32)
        decay = tl.exp(size[:, :, None] * rate[None, :, :])
        entering = (size * value)[:, :, None] * enters[:, None, :]
        own_block = (own * blocks + block) * width + channel
        h = tl.load(before + own_block[:, None] * states + state[None, :], mask=of_states, other=0.0)
        decays, inside = tl.associative_scan((decay, entering), 0, _then)
        reached = decays * h[None, :, :] + inside

        # A state's gradient decays by the next step's factor on the way back.
        next_exists = numbers & (step + 1 < pixels)[:, None]
        next_pixel = _pixels(path, tl.minimum(step + 1, pixels - 1), rows, columns, pixels)
        next_at = (own * pixels + next_pixel)[:, None] * width + channel[None, :]
        next_size = tl.load(delta + next_at, mask=next_exists, other=0.0).to(tl.float32)
        next_size = tl.where(next_exists, _softplus(next_size + bias[None, :]), 0.0)
        next_decay = tl.exp(next_size[:, :, None] * rate[None, :, :])
        back, from_inside = tl.associative_scan(
            (next_decay, of_y[:, :, None] * reads[:, None, :]), 0, _then, reverse=True
        )
        of_reached = back * of_h[None, :, :] + from_inside
        of_h = tl.sum(tl.where((place == 0)[:, None, None], of_reached, 0.0), 0)

        tl.store(grad_c + group + at_state, tl.sum(reached * of_y[:, :, None], 1), mask=has_state)
        tl.store(grad_b + group + at_state, tl.sum(of_reached * (size * value)[:, :, None], 1), mask=has_state)
        of_exponent = of_reached * (reached - entering)
        of_rate += tl.sum(of_exponent * size[:, :, None], 0)
        of_entering = tl.sum(of_reached * enters[:, None, :], 2)
        of_raw = tl.sum(of_exponent * rate[None, :, :], 2) + of_entering * value
        of_raw *= tl.sigmoid(raw)
        of_raw = tl.where(numbers, of_raw, 0.0)
        tl.store(grad_delta + at_own, of_raw.to(grad_delta.dtype.element_ty), mask=numbers)
        tl.store(grad_x + at_own, skip[None, :] * of_y + of_entering * size, mask=numbers)
        of_bias += tl.sum(of_raw, 0)
        of_skip += tl.sum(of_y * value, 0)

    sums = own * width + channel
    tl.store(grad_bias + sums, of_bias, mask=of_width)
    tl.store(grad_d + sums, of_skip, mask=of_width)
    tl.store(grad_a + sums[:, None] * states + state[None, :], of_rate, mask=of_states)
