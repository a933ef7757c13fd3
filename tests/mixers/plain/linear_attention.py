"""Linear attention as attention: every pair of pixels has a weight, which is the product of their features."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, batch_norm, depthwise_convolution, linear


def linear_attention(
    parameters: Parameters, x: Tensor, *, num_heads: int, feature_map: str = "focused", table_size: int = 14
) -> Tensor:
    inner = {key.removeprefix("attention."): entry for key, entry in parameters.items()}
    if feature_map == "focused":
        assert inner["position_table"].shape == (table_size, table_size, x.shape[-1])
    return {"focused": focused, "relu": relu, "elu": elu}[feature_map](inner, x, num_heads)


def focused(parameters: Parameters, x: Tensor, num_heads: int) -> Tensor:
    queries, keys, values = linear(x, parameters, "qkv").chunk(3, -1)
    table = parameters["position_table"].permute(2, 0, 1)[None]
    keys = keys + F.interpolate(table, x.shape[:2], mode="bilinear", align_corners=False)[0].permute(1, 2, 0)

    def features(x: Tensor) -> Tensor:
        x = (x.clamp(min=0) + 1e-6) / torch.log(1 + torch.exp(parameters["scale"]))
        return x**3 * length(x) / length(x**3)

    attended = attend(features(queries), features(keys), values, num_heads, 1e-6)
    kernel = convolution_kernel(parameters, "dwconv").repeat(1, 1, num_heads)
    convolved = depthwise_convolution(values, kernel) + parameters["dwconv.bias"].repeat(num_heads)
    return linear(attended + convolved, parameters, "proj")


def relu(parameters: Parameters, x: Tensor, num_heads: int) -> Tensor:
    fine = linear(x, parameters, "qkv")
    coarse = depthwise_convolution(fine, convolution_kernel(parameters, "dwconv"))
    grouped = parameters["grouped.weight"].flatten(1)
    size = grouped.shape[1]
    groups = [
        coarse[..., start : start + size] @ grouped[start : start + size].T for start in range(0, len(grouped), size)
    ]
    outputs = []
    for scale in (fine, torch.cat(groups, -1)):
        queries, keys, values = (each.flatten(-2) for each in scale.unflatten(-1, (num_heads, 3, -1)).unbind(-2))
        outputs.append(attend(queries.clamp(min=0), keys.clamp(min=0), values, num_heads, 1e-15))
    return batch_norm(linear(torch.cat(outputs, -1), parameters, "proj.linear"), parameters, "proj.bn")


def elu(parameters: Parameters, x: Tensor, num_heads: int) -> Tensor:
    rows, columns, dim = x.shape
    values = linear(x, parameters, "input_proj")
    values = silu(
        depthwise_convolution(values, convolution_kernel(parameters, "input_conv")) + parameters["input_conv.bias"]
    )
    queries, keys = (
        torch.where(each > 0, each + 1, torch.exp(each)) for each in linear(values, parameters, "qk").chunk(2, -1)
    )
    frequencies = [10000 ** (-4 * pair / dim) for pair in range(dim // 4)]
    angles = torch.tensor(
        [[[place * f for place in (r, c) for f in frequencies] for c in range(columns)] for r in range(rows)],
        dtype=x.dtype,
    )

    def turned(x: Tensor) -> Tensor:
        return torch.view_as_real(
            torch.view_as_complex(x.unflatten(-1, (-1, 2))) * torch.polar(torch.ones_like(angles), angles)
        ).flatten(-2)

    eps = 1e-6 * rows * columns  # on the mean
    attended = attend(queries, keys, values, num_heads, eps, turned(queries), turned(keys))
    around = depthwise_convolution(values, convolution_kernel(parameters, "value_conv")) + parameters["value_conv.bias"]
    return linear((attended + around) * silu(linear(x, parameters, "gate_proj")), parameters, "output_proj")


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    num_heads: int,
    eps: float,
    turned_queries: Tensor | None = None,
    turned_keys: Tensor | None = None,
) -> Tensor:
    """H, W, C each -> H, W, C; a value counts by turned features, their sum by the others."""

    def products(queries: Tensor, keys: Tensor) -> Tensor:
        queries, keys = (each.flatten(0, 1).unflatten(-1, (num_heads, -1)) for each in (queries, keys))
        return torch.einsum("nhd,mhd->hnm", queries, keys)

    total = products(queries, keys).sum(-1, keepdim=True) + eps
    weights = products(queries, keys) if turned_queries is None else products(turned_queries, turned_keys)
    values_of_heads = values.flatten(0, 1).unflatten(-1, (num_heads, -1))
    return torch.einsum("hnm,mhd->nhd", weights / total, values_of_heads).reshape(values.shape)


def convolution_kernel(parameters: Parameters, name: str) -> Tensor:
    return parameters[f"{name}.weight"][:, 0].permute(1, 2, 0)


def length(x: Tensor) -> Tensor:
    return (x**2).sum(-1, keepdim=True).sqrt()


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


PLAIN = Plain(
    linear_attention,
    cases=[Case({"num_heads": 2})],
    option_cases=[
        Case({"num_heads": 1, "table_size": 5}),
        Case({"num_heads": 2, "feature_map": "relu"}),
        Case({"num_heads": 4, "feature_map": "elu"}),
    ],
    refused=[
        ({"num_heads": 3}, "num_heads=3: must divide dim=64"),
        ({"num_heads": 2, "feature_map": "softmax"}, "feature_map='softmax': must be one of focused, relu, elu"),
        ({"num_heads": 2, "table_size": 0}, "table_size=0: must be at least 1"),
    ],
)
