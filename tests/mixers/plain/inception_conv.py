"""Inception conv, pixel by pixel: every channel has a kernel of the largest size, of zeros but for the branch's."""

from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, linear, sum_of_neighbours


def inception_conv(
    parameters: Parameters,
    x: Tensor,
    *,
    square_kernel_size: int = 3,
    band_kernel_size: int = 11,
    branch_ratio: float = 0.125,
    projection: bool = False,
) -> Tensor:
    x = linear(x, parameters, "input_proj") if projection else x
    width = int(branch_ratio * x.shape[-1])
    side = max(square_kernel_size, band_kernel_size)
    kernel, bias = x.new_zeros(side, side, x.shape[-1]), x.new_zeros(x.shape[-1])
    kernel[side // 2, side // 2, : -3 * width] = 1
    sizes = {"square": (square_kernel_size,) * 2, "row": (1, band_kernel_size), "column": (band_kernel_size, 1)}
    for place, (name, (rows, columns)) in enumerate(sizes.items()):
        start = x.shape[-1] - (3 - place) * width
        top, left = (side - rows) // 2, (side - columns) // 2
        kernel[top : top + rows, left : left + columns, start : start + width] = parameters[f"{name}.weight"][
            :, 0
        ].permute(1, 2, 0)
        bias[start : start + width] = parameters[f"{name}.bias"]
    x = sum_of_neighbours(x, lambda r, c: kernel) + bias
    return linear(x, parameters, "output_proj") if projection else x


PLAIN = Plain(
    inception_conv,
    cases=[Case()],
    option_cases=[
        Case({"square_kernel_size": 7, "band_kernel_size": 5, "branch_ratio": 0.25, "projection": True}),
    ],
    refused=[
        ({"square_kernel_size": 2}, "square_kernel_size=2: must be odd"),
        ({"band_kernel_size": 0}, "band_kernel_size=0: must be odd"),
        ({"branch_ratio": 0.01}, r"branch_ratio=0\.01: three branches need a channel each.*dim=64"),
        ({"branch_ratio": 0.5}, r"branch_ratio=0\.5: three branches"),
    ],
)
