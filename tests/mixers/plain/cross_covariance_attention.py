"""Cross-covariance attention, pixel by pixel: sums over the pixels give shares, which then serve each pixel."""

import torch
from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, batch_norm, depthwise_convolution, every_pixel, gelu, linear


def cross_covariance_attention(
    parameters: Parameters, x: Tensor, *, num_heads: int, qkv_bias: bool = True, local: bool = False
) -> Tensor:
    rows, columns, _ = x.shape
    assert ("qkv.bias" in parameters) == qkv_bias
    queries, keys, values = linear(x, parameters, "qkv").unflatten(-1, (3, num_heads, -1)).unbind(2)
    queries, keys = (each / torch.sqrt((each**2).sum((0, 1))) for each in (queries, keys))
    logits = torch.einsum("rchi,rchj->hij", queries, keys) * parameters["temperature"]
    shares = torch.exp(logits) / torch.exp(logits).sum(-1, keepdim=True)
    mixed = every_pixel(rows, columns, lambda r, c: torch.einsum("hij,hj->hi", shares, values[r, c]).flatten())
    mixed = linear(mixed, parameters, "proj")
    if not local:
        return mixed
    mixed = gelu(convolution(mixed, parameters, "local.conv1"))
    return convolution(batch_norm(mixed, parameters, "local.bn"), parameters, "local.conv2")


def convolution(x: Tensor, parameters: Parameters, name: str) -> Tensor:
    kernel = parameters[f"{name}.weight"][:, 0].permute(1, 2, 0)
    return depthwise_convolution(x, kernel) + parameters[f"{name}.bias"]


PLAIN = Plain(
    cross_covariance_attention,
    cases=[Case({"num_heads": 2})],
    option_cases=[Case({"num_heads": 4, "qkv_bias": False, "local": True})],
    refused=[({"num_heads": 3}, "num_heads=3: must divide dim=64")],
)
