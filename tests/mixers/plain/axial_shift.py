"""Axial shift, pixel by pixel."""

import math

import torch
from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, every_pixel, linear


def axial_shift(parameters: Parameters, x: Tensor, *, shift_size: int = 5) -> Tensor:
    rows, columns, dim = x.shape
    x = gelu(norm_of_image(linear(x, parameters, "input_proj"), parameters, "input_norm"))
    in_group = math.ceil(dim / shift_size)
    channel = torch.arange(dim)
    moves = channel // in_group - shift_size // 2  # of each channel, in pixels, to the right or down
    framed = x.new_zeros(rows + 2 * shift_size, columns + 2 * shift_size, dim)
    framed[shift_size : shift_size + rows, shift_size : shift_size + columns] = x
    across = every_pixel(rows, columns, lambda r, c: framed[r + shift_size, c + shift_size - moves, channel])
    down = every_pixel(rows, columns, lambda r, c: framed[r + shift_size - moves, c + shift_size, channel])
    total = gelu(linear(across, parameters, "horizontal")) + gelu(linear(down, parameters, "vertical"))
    return linear(norm_of_image(total, parameters, "output_norm"), parameters, "output_proj")


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def norm_of_image(x: Tensor, parameters: Parameters, name: str) -> Tensor:
    """With mean and variance of all pixels and channels."""
    centred = x - x.mean()
    normalised = centred / torch.sqrt((centred**2).mean() + 1e-5)
    return normalised * parameters[f"{name}.weight"] + parameters[f"{name}.bias"]


PLAIN = Plain(
    axial_shift,
    cases=[Case()],
    option_cases=[Case({"shift_size": 3}), Case({"shift_size": 1})],
    refused=[({"shift_size": 4}, "shift_size=4: must be odd and at least 1")],
)
