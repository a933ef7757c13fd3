"""Inhomogeneous dynamic depthwise conv, pixel by pixel."""

from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, batch_norm, linear, sum_of_neighbours


def inhomogeneous_dynamic_depthwise_conv(
    parameters: Parameters,
    x: Tensor,
    *,
    group_channels: int,
    kernel_size: int = 7,
    reduction: int = 4,
    projection: bool = True,
) -> Tensor:
    x = linear(x, parameters, "input_proj") if projection else x
    hidden = batch_norm(linear(x, parameters, "conv1"), parameters, "bn")
    assert hidden.shape[-1] == x.shape[-1] // reduction
    kernels = linear(hidden.clamp(min=0), parameters, "conv2")
    kernels = kernels.unflatten(-1, (x.shape[-1] // group_channels, kernel_size, kernel_size))
    x = sum_of_neighbours(x, lambda r, c: kernels[r, c].repeat_interleave(group_channels, 0).permute(1, 2, 0))
    return linear(x, parameters, "output_proj") if projection else x


PLAIN = Plain(
    inhomogeneous_dynamic_depthwise_conv,
    cases=[Case({"group_channels": 2})],
    option_cases=[Case({"group_channels": 8, "kernel_size": 3, "reduction": 1, "projection": False})],
    steering=("conv2", slice(None)),
    refused=[
        ({"group_channels": 5}, "group_channels=5: must divide dim=64"),
        ({"group_channels": 2, "kernel_size": 2}, "kernel_size=2"),
        ({"group_channels": 2, "reduction": 0}, "reduction=0"),
    ],
)
