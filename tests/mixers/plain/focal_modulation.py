"""Focal modulation, pixel by pixel."""

from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, depthwise_convolution, gelu, layer_norm, linear


def focal_modulation(
    parameters: Parameters,
    x: Tensor,
    *,
    focal_level: int = 2,
    focal_window: int = 3,
    normalize_modulator: bool = False,
    post_norm: bool = False,
) -> Tensor:
    dim = x.shape[-1]
    projected = linear(x, parameters, "input_proj")
    query, context, gates = projected[..., :dim], projected[..., dim : 2 * dim], projected[..., 2 * dim :]
    assert gates.shape[-1] == focal_level + 1
    modulator = 0
    for level in range(focal_level):
        kernel = parameters[f"contexts.{level}.weight"][:, 0].permute(1, 2, 0)
        assert kernel.shape[0] == focal_window + 2 * level
        context = gelu(depthwise_convolution(context, kernel))
        modulator = modulator + context * gates[..., level : level + 1]
    modulator = modulator + gelu(context.mean((0, 1))) * gates[..., focal_level:]
    if normalize_modulator:
        modulator = modulator / (focal_level + 1)
    modulated = query * linear(modulator, parameters, "modulator_proj")
    return linear(layer_norm(modulated, parameters, "norm") if post_norm else modulated, parameters, "output_proj")


PLAIN = Plain(
    focal_modulation,
    cases=[Case()],
    option_cases=[Case({"focal_level": 3, "focal_window": 1, "normalize_modulator": True, "post_norm": True})],
    refused=[
        ({"focal_level": 0}, "focal_level=0: must be at least 1"),
        ({"focal_window": 4}, "focal_window=4: must be odd"),
    ],
)
