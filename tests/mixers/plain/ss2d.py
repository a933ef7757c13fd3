"""Ss2d, pixel by pixel along each path."""

import torch
from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, layer_norm, linear, sum_of_neighbours


def ss2d(
    parameters: Parameters,
    x: Tensor,
    *,
    expansion: float = 1.0,
    states: int = 1,
    gate: bool = False,
    conv_bias: bool = False,
    implementation: str = "auto",
) -> Tensor:
    rows, columns, dim = x.shape
    inner = int(expansion * dim)
    inside = linear(x, parameters, "in_proj")
    if gate:
        inside, gates = inside[..., :inner], inside[..., inner:]
    kernel = parameters["conv.weight"][:, 0].permute(1, 2, 0)
    inside = sum_of_neighbours(inside, lambda r, c: kernel)
    assert conv_bias == ("conv.bias" in parameters)
    if conv_bias:
        inside = inside + parameters["conv.bias"]
    inside = inside / (1 + torch.exp(-inside))
    by_rows = [(r, c) for r in range(rows) for c in range(columns)]
    by_columns = [(r, c) for c in range(columns) for r in range(rows)]
    r, c = torch.tensor([by_rows, by_columns, by_rows[::-1], by_columns[::-1]]).unbind(-1)  # of each path and step
    path = torch.arange(4)[:, None]
    rank = -(-dim // 16)
    entering = inside[r, c]
    numbers = linear(inside, parameters, "x_proj").unflatten(-1, (4, rank + 2 * states))[r, c, path]
    step = numbers[..., :rank] @ parameters["dt_weight"].mT + parameters["dt_bias"][:, None]
    step = torch.log(1 + torch.exp(-step.abs())) + step.clamp(min=0)
    rates = torch.exp(parameters["A_log"])
    state = torch.zeros_like(rates)
    outputs = []
    for t in range(rows * columns):
        enters, reads = numbers[:, t, rank : rank + states], numbers[:, t, rank + states :]
        state = torch.exp(-rates * step[:, t, :, None]) * state
        state = state + (step[:, t] * entering[:, t])[..., None] * enters[:, None]
        outputs.append((state * reads[:, None]).sum(-1) + parameters["D"] * entering[:, t])
    total = torch.zeros_like(inside).index_put((r, c), torch.stack(outputs, 1), accumulate=True)
    mixed = layer_norm(total, parameters, "norm")
    if gate:
        mixed = mixed * gates / (1 + torch.exp(-gates))
    return linear(mixed, parameters, "out_proj")


PLAIN = Plain(
    ss2d,
    cases=[Case()],
    option_cases=[
        Case({"expansion": 2, "states": 3, "gate": True, "conv_bias": True}),
        Case({"implementation": "reference"}),
    ],
    steering=("x_proj", slice(None)),
    refused=[
        ({"expansion": 0.01}, "expansion=0.01: must leave at least one of dim=64 channels"),
        ({"states": 0}, "states=0: must be at least 1"),
        ({"implementation": "cuda"}, "implementation='cuda': must be one of auto, cpp, triton, reference"),
    ],
)
