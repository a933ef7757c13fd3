"""Depthwise conv, pixel by pixel."""

from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, linear, sum_of_neighbours


def depthwise_conv(parameters: Parameters, x: Tensor, *, kernel_size: int = 7, projection: bool = True) -> Tensor:
    x = linear(x, parameters, "input_proj") if projection else x
    kernel = parameters["dwconv.weight"][:, 0].permute(1, 2, 0)
    assert kernel.shape[0] == kernel_size
    x = sum_of_neighbours(x, lambda r, c: kernel) + parameters["dwconv.bias"]
    return linear(x, parameters, "output_proj") if projection else x


PLAIN = Plain(
    depthwise_conv,
    cases=[Case()],
    option_cases=[Case({"kernel_size": 3, "projection": False})],
    refused=[({"kernel_size": 4}, "kernel_size=4: must be odd")],
)
