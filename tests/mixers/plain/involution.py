"""Involution, pixel by pixel."""

from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, batch_norm, linear, sum_of_neighbours


def involution(
    parameters: Parameters,
    x: Tensor,
    *,
    group_channels: int,
    kernel_size: int = 7,
    reduction: int = 4,
    projection: bool = False,
) -> Tensor:
    x = linear(x, parameters, "input_proj") if projection else x
    hidden = batch_norm(linear(x, parameters, "conv1"), parameters, "bn").clamp(min=0)
    assert hidden.shape[-1] == x.shape[-1] // reduction
    kernels = linear(hidden, parameters, "conv2").unflatten(-1, (-1, kernel_size, kernel_size))

    def kernel_at(r: int, c: int) -> Tensor:
        return kernels[r, c].repeat_interleave(group_channels, 0).permute(1, 2, 0)

    x = sum_of_neighbours(x, kernel_at)
    return linear(x, parameters, "output_proj") if projection else x


PLAIN = Plain(
    involution,
    cases=[Case({"group_channels": 4})],
    option_cases=[Case({"group_channels": 2, "kernel_size": 3, "reduction": 1, "projection": True})],
    steering=("conv2", slice(None)),
    refused=[
        ({"group_channels": 5}, "group_channels=5: must divide dim=64"),
        ({"group_channels": 16, "kernel_size": 2}, "kernel_size=2: must be odd"),
        ({"group_channels": 16, "reduction": 0}, "reduction=0: must be at least 1"),
    ],
)
