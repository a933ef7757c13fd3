"""The mixers again, pixel by pixel and as plainly as possible: what the fast ones must equal.

Each function maps one image H, W, C with the mixer's state dict and options to H, W, C. Written from the papers and the
facts about the authors' code, not from mixers/.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]


def every_pixel(rows: int, columns: int, output_at: Callable[[int, int], Tensor]) -> Tensor:
    return torch.stack([torch.stack([output_at(r, c) for c in range(columns)]) for r in range(rows)])


def linear(x: Tensor, parameters: Parameters, name: str) -> Tensor:
    product = x @ parameters[f"{name}.weight"].T
    return product + parameters[f"{name}.bias"] if f"{name}.bias" in parameters else product


def layer_norm(x: Tensor, parameters: Parameters, name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + 1e-5) * parameters[f"{name}.weight"] + parameters[f"{name}.bias"]


def batch_norm(x: Tensor, parameters: Parameters, name: str) -> Tensor:
    normalised = (x - parameters[f"{name}.running_mean"]) / torch.sqrt(parameters[f"{name}.running_var"] + 1e-5)
    return normalised * parameters[f"{name}.weight"] + parameters[f"{name}.bias"]


def zero_extended(x: Tensor, multiple: int) -> Tensor:
    """Rows and columns of zeros at the bottom and right, up to a multiple."""
    rows, columns, channels = x.shape
    full_rows, full_columns = math.ceil(rows / multiple) * multiple, math.ceil(columns / multiple) * multiple
    x = torch.cat([x, x.new_zeros(full_rows - rows, columns, channels)], 0)
    return torch.cat([x, x.new_zeros(full_rows, full_columns - columns, channels)], 1)


def attend(query: Tensor, keys: Tensor, values: Tensor, extra_logits: Tensor | float = 0.0) -> Tensor:
    """heads, d; n, heads, d; n, heads, d; heads, n -> heads * d."""
    logits = torch.einsum("hd,nhd->hn", query, keys) / math.sqrt(query.shape[-1]) + extra_logits
    shares = torch.exp(logits - logits.max(1, keepdim=True).values)
    shares = shares / shares.sum(1, keepdim=True)
    return torch.einsum("hn,nhd->hd", shares, values).flatten()


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


def sra(parameters: Parameters, x: Tensor, *, num_heads: int, sr_ratio: int = 1) -> Tensor:
    rows, columns, _ = x.shape
    reduced = x
    if sr_ratio > 1:
        padded = x
        if rows < sr_ratio:
            padded = torch.cat([padded, padded.new_zeros(sr_ratio - rows, *padded.shape[1:])], 0)
        if columns < sr_ratio:
            padded = torch.cat([padded, padded.new_zeros(padded.shape[0], sr_ratio - columns, padded.shape[2])], 1)

        def patch_at(r: int, c: int) -> Tensor:
            patch = padded[r * sr_ratio : (r + 1) * sr_ratio, c * sr_ratio : (c + 1) * sr_ratio]
            return torch.einsum("oiab,abi->o", parameters["sr.weight"], patch) + parameters["sr.bias"]

        reduced = every_pixel(padded.shape[0] // sr_ratio, padded.shape[1] // sr_ratio, patch_at)
        reduced = layer_norm(reduced, parameters, "norm")
    queries = linear(x, parameters, "q").unflatten(-1, (num_heads, -1))
    keys, values = linear(reduced.flatten(0, 1), parameters, "kv").unflatten(-1, (2, num_heads, -1)).unbind(1)
    mixed = every_pixel(rows, columns, lambda r, c: attend(queries[r, c], keys, values))
    return linear(mixed, parameters, "proj")


def shifted_window(
    parameters: Parameters,
    x: Tensor,
    *,
    num_heads: int,
    window_size: int = 7,
    shift_size: int = 0,
    mask_padding: bool = True,
) -> Tensor:
    """The grid of windows is moved by the shift; windows cut by the map's border are smaller."""
    rows, columns, _ = x.shape
    qkv = linear(x if mask_padding else zero_extended(x, window_size), parameters, "qkv")
    queries, keys, values = qkv.unflatten(-1, (3, num_heads, -1)).unbind(2)
    table = parameters["relative_position_bias_table"]

    def window_of(place: int, size: int) -> list[int]:
        start = (place - shift_size) // window_size * window_size + shift_size
        return [other for other in range(start, start + window_size) if 0 <= other < size]

    def output_at(r: int, c: int) -> Tensor:
        key_rows, key_columns = window_of(r, qkv.shape[0]), window_of(c, qkv.shape[1])
        index = [
            (r - row + window_size - 1) * (2 * window_size - 1) + c - column + window_size - 1
            for row in key_rows
            for column in key_columns
        ]
        seen_keys = keys[key_rows][:, key_columns].flatten(0, 1)
        seen_values = values[key_rows][:, key_columns].flatten(0, 1)
        return attend(queries[r, c], seen_keys, seen_values, table[index].T)

    return linear(every_pixel(rows, columns, output_at), parameters, "proj")


def global_attention(parameters: Parameters, x: Tensor, *, num_heads: int) -> Tensor:
    queries, keys, values = linear(x, parameters, "qkv").unflatten(-1, (3, num_heads, -1)).unbind(2)
    keys, values = keys.flatten(0, 1), values.flatten(0, 1)
    mixed = every_pixel(*x.shape[:2], lambda r, c: attend(queries[r, c], keys, values))
    return linear(mixed, parameters, "proj")


def sum_of_neighbours(x: Tensor, kernel_at: Callable[[int, int], Tensor]) -> Tensor:
    """Sum of the k x k neighbours on the map, weighted by `kernel_at(r, c)`: k, k, C."""
    rows, columns, _ = x.shape

    def output_at(r: int, c: int) -> Tensor:
        kernel = kernel_at(r, c)
        radius = kernel.shape[0] // 2
        top, bottom = max(r - radius, 0), min(r + radius + 1, rows)
        left, right = max(c - radius, 0), min(c + radius + 1, columns)
        inside = kernel[top - r + radius : bottom - r + radius, left - c + radius : right - c + radius]
        return (x[top:bottom, left:right] * inside).sum((0, 1))

    return every_pixel(rows, columns, output_at)


def depthwise_conv(parameters: Parameters, x: Tensor, *, kernel_size: int = 7, projection: bool = True) -> Tensor:
    x = linear(x, parameters, "input_proj") if projection else x
    kernel = parameters["dwconv.weight"][:, 0].permute(1, 2, 0)
    assert kernel.shape[0] == kernel_size
    x = sum_of_neighbours(x, lambda r, c: kernel) + parameters["dwconv.bias"]
    return linear(x, parameters, "output_proj") if projection else x


def dynamic_depthwise_conv(
    parameters: Parameters, x: Tensor, *, kernel_size: int = 7, reduction: int = 4, projection: bool = True
) -> Tensor:
    x = linear(x, parameters, "input_proj") if projection else x
    hidden = batch_norm(linear(x.mean((0, 1)), parameters, "conv1"), parameters, "bn")
    assert len(hidden) == x.shape[-1] // reduction
    kernel = linear(hidden.clamp(min=0), parameters, "conv2").reshape(x.shape[-1], kernel_size, kernel_size)
    x = sum_of_neighbours(x, lambda r, c: kernel.permute(1, 2, 0)) + parameters["bias"]
    return linear(x, parameters, "output_proj") if projection else x


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


def dcnv3(
    parameters: Parameters,
    x: Tensor,
    *,
    groups: int,
    kernel_size: int = 3,
    dw_kernel_size: int = 3,
    offset_scale: float = 1.0,
) -> Tensor:
    kernel = parameters["dw_conv.weight"][:, 0].permute(1, 2, 0)
    assert kernel.shape[0] == dw_kernel_size
    query = layer_norm(sum_of_neighbours(x, lambda r, c: kernel) + parameters["dw_conv.bias"], parameters, "norm")
    query = query * 0.5 * (1 + torch.erf(query / math.sqrt(2)))
    offsets = linear(query, parameters, "sampling_offsets").unflatten(-1, (groups, kernel_size**2, 2))
    weights = torch.exp(linear(query, parameters, "attention_weights").unflatten(-1, (groups, kernel_size**2)))
    weights = weights / weights.sum(-1, keepdim=True)
    value = linear(x, parameters, "value_proj")
    mixed = deformable_sum(
        value, offsets, weights, kernel_size=kernel_size, padding=kernel_size // 2, offset_scale=offset_scale
    )
    return linear(mixed, parameters, "output_proj")


def deformable_sum(
    value: Tensor,
    offsets: Tensor,
    weights: Tensor,
    *,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    offset_scale: float = 1.0,
) -> Tensor:
    """H, W, C; H', W', G, K, 2; H', W', G, K -> H', W', C.

    Bilinear interpolation as what it is: every pixel of the map counts by how much a tent, two pixels wide and set up
    at the sampling position, covers it.
    """
    rows, columns, _ = value.shape
    value = value.unflatten(-1, (weights.shape[2], -1))
    radius = dilation * (kernel_size - 1) / 2
    # x is the slow index of the points.
    base_x = torch.tensor([(p // kernel_size) * dilation - radius for p in range(kernel_size**2)], dtype=value.dtype)
    base_y = torch.tensor([(p % kernel_size) * dilation - radius for p in range(kernel_size**2)], dtype=value.dtype)

    def output_at(r: int, c: int) -> Tensor:
        x = c * stride - padding + radius + (base_x + offsets[r, c, :, :, 0]) * offset_scale
        y = r * stride - padding + radius + (base_y + offsets[r, c, :, :, 1]) * offset_scale
        covers_column = (1 - (x[..., None] - torch.arange(columns)).abs()).clamp(min=0)
        covers_row = (1 - (y[..., None] - torch.arange(rows)).abs()).clamp(min=0)
        shares = weights[r, c][..., None] * covers_row  # G, K, H
        return torch.einsum("gkh,gkw,hwgd->gd", shares, covers_column, value).flatten()

    return every_pixel(*weights.shape[:2], output_at)


def pooling(parameters: Parameters, x: Tensor, *, pool_size: int = 3) -> Tensor:
    radius = pool_size // 2

    def output_at(r: int, c: int) -> Tensor:
        near = x[max(r - radius, 0) : r + radius + 1, max(c - radius, 0) : c + radius + 1]
        return near.mean((0, 1)) - x[r, c]

    return every_pixel(*x.shape[:2], output_at)


def identity(parameters: Parameters, x: Tensor) -> Tensor:
    return x.clone()


ORACLES: dict[str, Callable[..., Tensor]] = {
    "halo": halo,
    "sra": sra,
    "shifted_window": shifted_window,
    "depthwise_conv": depthwise_conv,
    "dynamic_depthwise_conv": dynamic_depthwise_conv,
    "inhomogeneous_dynamic_depthwise_conv": inhomogeneous_dynamic_depthwise_conv,
    "dcnv3": dcnv3,
    "identity": identity,
    "pooling": pooling,
    "global_attention": global_attention,
}


def oracle_options(mixer: str, options: Mapping[str, Any], resolution: tuple[int, int]) -> dict[str, Any]:
    """The options as the oracle takes them: what `resolution` does to the window is decided here."""
    options = dict(options)
    if mixer == "shifted_window":
        window = options.get("window_size", 7)
        if options.pop("shrink_window", True) and min(resolution) <= window:
            options |= {"window_size": min(resolution), "shift_size": 0}
    return options
