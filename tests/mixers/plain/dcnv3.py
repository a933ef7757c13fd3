"""Dcnv3, pixel by pixel."""

import math

import torch
from torch import Tensor

from mixers import Mixer

from ..cases import Case, Plain
from .arithmetic import Parameters, every_pixel, layer_norm, linear, sum_of_neighbours


def dcnv3(
    parameters: Parameters,
    x: Tensor,
    *,
    groups: int,
    kernel_size: int = 3,
    dw_kernel_size: int = 3,
    offset_scale: float = 1.0,
) -> Tensor:
    kernel = parameters["dw_conv.weight"][:, 0].permute(1, 2, 0)
    assert kernel.shape[0] == dw_kernel_size
    query = layer_norm(sum_of_neighbours(x, lambda r, c: kernel) + parameters["dw_conv.bias"], parameters, "norm")
    query = query * 0.5 * (1 + torch.erf(query / math.sqrt(2)))
    offsets = linear(query, parameters, "sampling_offsets").unflatten(-1, (groups, kernel_size**2, 2))
    weights = torch.exp(linear(query, parameters, "attention_weights").unflatten(-1, (groups, kernel_size**2)))
    weights = weights / weights.sum(-1, keepdim=True)
    value = linear(x, parameters, "value_proj")
    mixed = deformable_sum(
        value, offsets, weights, kernel_size=kernel_size, padding=kernel_size // 2, offset_scale=offset_scale
    )
    return linear(mixed, parameters, "output_proj")


def deformable_sum(
    value: Tensor,
    offsets: Tensor,
    weights: Tensor,
    *,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    offset_scale: float = 1.0,
) -> Tensor:
    """H, W, C; H', W', G, K, 2; H', W', G, K -> H', W', C.

    Bilinear interpolation as what it is: every pixel of the map counts by how much a tent, two pixels wide and set up
    at the sampling position, covers it.
    """
    rows, columns, _ = value.shape
    value = value.unflatten(-1, (weights.shape[2], -1))
    radius = dilation * (kernel_size - 1) / 2
    # x is the slow index of the points.
    base_x = torch.tensor([(p // kernel_size) * dilation - radius for p in range(kernel_size**2)], dtype=value.dtype)
    base_y = torch.tensor([(p % kernel_size) * dilation - radius for p in range(kernel_size**2)], dtype=value.dtype)

    def output_at(r: int, c: int) -> Tensor:
        x = c * stride - padding + radius + (base_x + offsets[r, c, :, :, 0]) * offset_scale
        y = r * stride - padding + radius + (base_y + offsets[r, c, :, :, 1]) * offset_scale
        covers_column = (1 - (x[..., None] - torch.arange(columns)).abs()).clamp(min=0)
        covers_row = (1 - (y[..., None] - torch.arange(rows)).abs()).clamp(min=0)
        shares = weights[r, c][..., None] * covers_row  # G, K, H
        return torch.einsum("gkh,gkw,hwgd->gd", shares, covers_column, value).flatten()

    return every_pixel(*weights.shape[:2], output_at)


def widen_offsets(mixer: Mixer) -> None:
    """Offsets as large as the map, so that some draw reaches every pixel."""
    mixer.sampling_offsets.bias.data *= 20 / mixer.offset_scale


PLAIN = Plain(
    dcnv3,
    cases=[Case({"groups": 2})],
    option_cases=[
        Case({"groups": 4, "kernel_size": 5, "dw_kernel_size": 5, "offset_scale": 0.5}),
        Case({"groups": 1, "kernel_size": 7}),
    ],
    steering=("sampling_offsets", slice(None)),
    draws=200,
    widen=widen_offsets,
    is_counted=False,
    refused=[
        ({"groups": 3}, "groups=3: must divide dim=64"),
        ({"groups": 4, "kernel_size": 2}, "kernel_size=2: must be odd"),
        ({"groups": 4, "dw_kernel_size": 0}, "dw_kernel_size=0: must be odd"),
        ({"groups": 4, "offset_scale": 0.0}, "offset_scale=0.0: must be positive"),
    ],
)
