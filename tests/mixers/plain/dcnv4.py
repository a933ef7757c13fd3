"""Dcnv4, pixel by pixel."""

from torch import Tensor

from mixers import Mixer

from ..cases import Case, Plain
from .arithmetic import Parameters, linear, sum_of_neighbours
from .dcnv3 import deformable_sum


def dcnv4(
    parameters: Parameters,
    x: Tensor,
    *,
    groups: int,
    kernel_size: int = 3,
    dw_kernel_size: int | None = None,
    offset_scale: float = 1.0,
    output_bias: bool = False,
) -> Tensor:
    query = x
    if dw_kernel_size is not None:
        kernel = parameters["offset_mask_dw.weight"][:, 0].permute(1, 2, 0)
        assert kernel.shape[0] == dw_kernel_size
        query = sum_of_neighbours(x, lambda r, c: kernel) + parameters["offset_mask_dw.bias"]
    points = kernel_size**2
    steering = linear(query, parameters, "offset_mask").unflatten(-1, (groups, 3 * points))
    assert ("output_proj.bias" in parameters) == output_bias
    mixed = deformable_sum(
        linear(x, parameters, "value_proj"),
        steering[..., : 2 * points].unflatten(-1, (points, 2)),
        steering[..., 2 * points :],
        kernel_size=kernel_size,
        padding=kernel_size // 2,
        offset_scale=offset_scale,
    )
    return linear(mixed, parameters, "output_proj")


def widen_offsets(mixer: Mixer) -> None:
    """Offsets as large as the map, so that some draw reaches every pixel."""
    mixer.offset_mask.bias.data *= 20 / mixer.offset_scale


def calm(mixer: Mixer) -> None:
    """Offsets of unit noise, and weights that no softmax bounds, make rounding ten times as large in every block."""
    mixer.offset_mask.weight.data *= 0.1


PLAIN = Plain(
    dcnv4,
    cases=[Case({"groups": 2})],
    option_cases=[Case({"groups": 4, "kernel_size": 5, "dw_kernel_size": 3, "offset_scale": 0.5, "output_bias": True})],
    steering=("offset_mask", slice(None)),
    draws=200,
    widen=widen_offsets,
    calm=calm,
    is_counted=False,
    refused=[
        ({"groups": 3}, "groups=3: must divide dim=64"),
        ({"groups": 4, "kernel_size": 2}, "kernel_size=2: must be odd"),
        ({"groups": 4, "dw_kernel_size": 0}, "dw_kernel_size=0: must be odd"),
        ({"groups": 4, "offset_scale": 0.0}, "offset_scale=0.0: must be positive"),
        ({"groups": 4, "implementation": "fast"}, "implementation='fast': must be one of auto"),
    ],
)
