"""Global attention, pixel by pixel."""

from torch import Tensor

from ..cases import DIM, Case, Plain
from .arithmetic import Parameters, attend, every_pixel, linear


def global_attention(parameters: Parameters, x: Tensor, *, num_heads: int) -> Tensor:
    queries, keys, values = linear(x, parameters, "qkv").unflatten(-1, (3, num_heads, -1)).unbind(2)
    keys, values = keys.flatten(0, 1), values.flatten(0, 1)
    mixed = every_pixel(*x.shape[:2], lambda r, c: attend(queries[r, c], keys, values))
    return linear(mixed, parameters, "proj")


PLAIN = Plain(
    global_attention,
    cases=[Case({"num_heads": 2})],
    steering=("qkv", slice(0, DIM)),
    refused=[({"num_heads": 6}, "num_heads=6: must divide dim=64")],
)
