"""Dynamic depthwise conv, pixel by pixel."""

from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, batch_norm, linear, sum_of_neighbours


def dynamic_depthwise_conv(
    parameters: Parameters, x: Tensor, *, kernel_size: int = 7, reduction: int = 4, projection: bool = True
) -> Tensor:
    x = linear(x, parameters, "input_proj") if projection else x
    hidden = batch_norm(linear(x.mean((0, 1)), parameters, "conv1"), parameters, "bn")
    assert len(hidden) == x.shape[-1] // reduction
    kernel = linear(hidden.clamp(min=0), parameters, "conv2").reshape(x.shape[-1], kernel_size, kernel_size)
    x = sum_of_neighbours(x, lambda r, c: kernel.permute(1, 2, 0)) + parameters["bias"]
    return linear(x, parameters, "output_proj") if projection else x


PLAIN = Plain(
    dynamic_depthwise_conv,
    cases=[Case()],
    option_cases=[Case({"kernel_size": 5, "reduction": 2, "projection": False})],
    steering=("conv2", slice(None)),
    refused=[
        ({"kernel_size": -1}, "kernel_size=-1: must be odd and at least 1"),
        ({"reduction": 0}, "reduction=0"),
    ],
)
