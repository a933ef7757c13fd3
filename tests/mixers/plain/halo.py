"""Halo, pixel by pixel."""

from torch import Tensor

from ..cases import Case, Plain
from .arithmetic import Parameters, attend, every_pixel, linear, zero_extended


def halo(
    parameters: Parameters,
    x: Tensor,
    *,
    num_heads: int,
    block_size: int = 7,
    halo_size: int = 3,
    relative_embedding: str = "query_related",
    mask_padding: bool = True,
) -> Tensor:
    rows, columns, dim = x.shape
    window = block_size + 2 * halo_size
    queries = linear(x, parameters, "q").unflatten(-1, (num_heads, -1))
    kv = linear(x if mask_padding else zero_extended(x, block_size), parameters, "kv")
    kv = kv.unflatten(-1, (num_heads, 2, dim // num_heads))

    def output_at(r: int, c: int) -> Tensor:
        top, left = r - r % block_size - halo_size, c - c % block_size - halo_size
        key_rows = [row for row in range(top, top + window) if 0 <= row < kv.shape[0]]
        key_columns = [column for column in range(left, left + window) if 0 <= column < kv.shape[1]]
        seen = kv[key_rows][:, key_columns].flatten(0, 1)
        query = queries[r, c]
        if relative_embedding == "query_related":
            of_row = parameters["pos_embed.height_rel"][[row - top - r % block_size + window - 1 for row in key_rows]]
            of_column = parameters["pos_embed.width_rel"][
                [column - left - c % block_size + window - 1 for column in key_columns]
            ]
            extra = (query @ of_row.T)[:, :, None] + (query @ of_column.T)[:, None, :]
            extra = extra.flatten(1)
        else:
            table = parameters["pos_embed.relative_position_bias_table"]
            index = [
                (r - row + window - 1) * (2 * window - 1) + c - column + window - 1
                for row in key_rows
                for column in key_columns
            ]
            extra = table[index].T
        return attend(query, seen[:, :, 0], seen[:, :, 1], extra)

    return linear(every_pixel(rows, columns, output_at), parameters, "proj")


PLAIN = Plain(
    halo,
    cases=[Case({"num_heads": 2})],
    option_cases=[
        Case({"num_heads": 2, "mask_padding": False}),
        Case({"num_heads": 4, "relative_embedding": "query_free"}),
        Case({"num_heads": 2, "block_size": 4, "halo_size": 1}),
        Case({"num_heads": 1, "block_size": 3, "halo_size": 0}),
    ],
    steering=("q", slice(None)),
    refused=[
        ({"num_heads": 3}, "num_heads=3: must divide dim=64"),
        ({"num_heads": 0}, "num_heads=0"),
        ({"num_heads": 2, "block_size": 0}, "block_size=0: must be at least 1"),
        ({"num_heads": 2, "halo_size": -1}, "halo_size=-1: must be at least 0"),
        ({"num_heads": 2, "relative_embedding": "none"}, "relative_embedding='none'.*query_related.*query_free"),
    ],
)
