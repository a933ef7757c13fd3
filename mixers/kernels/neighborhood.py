"""`stmbench::neighborhood_attention`: each pixel attends to the k x k pixels around it, as one operator of PyTorch.

At the border the window is moved inwards, so that it always has k x k keys. Source: Hassani et al., "Neighborhood
Attention Transformer", arXiv:2204.07143, section 3.1.

Queries are taken in blocks, and the keys of a block are gathered once: 2 k - 1 along an axis for a block of k, some
three copies of the map where a window for each query would be k^2 of them. What a query must not see of its block's
keys is hidden. The operator stands for the products with the k^2 keys that each query has, and counts those; autograd
keeps its inputs and nothing else, and large maps are done in bands of blocks, so that memory is bounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.utils.flop_counter import register_flop_formula

from . import used

MOST_SCORES = 2**25
"""So many are held at once, unless a single row of blocks has more."""

_LIBRARY = torch.library.Library("stmbench", "FRAGMENT")
_ARGUMENTS = "Tensor query, Tensor key, Tensor value, Tensor bias, int kernel_size"
_LIBRARY.define(f"neighborhood_attention({_ARGUMENTS}) -> Tensor")
_LIBRARY.define(f"neighborhood_attention_backward(Tensor grad, {_ARGUMENTS}) -> (Tensor, Tensor, Tensor, Tensor)")
_ATTENTION = torch.ops.stmbench.neighborhood_attention.default
_ATTENTION_BACKWARD = torch.ops.stmbench.neighborhood_attention_backward.default


def neighborhood_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, kernel_size: int) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v over the k x k pixels around each; an axis shorter than k is seen whole.

    Args:
        query, key, value: B, H, W, heads, d.
        bias: heads, 2k-1, 2k-1, added to the scores: the index is row of the key - row of the query + k - 1, and the
            same of the columns.
        kernel_size: k, odd.

    Returns:
        B, H, W, heads, d in the dtype of `query`; the softmax is in at least float32.

    Raises:
        ValueError: shapes that do not fit together, or an even kernel size.
    """
    places = 2 * kernel_size - 1
    fits = query.dim() == 5 and query.shape == key.shape == value.shape
    if kernel_size % 2 == 0 or not fits or bias.shape != (query.shape[3], places, places):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (query, key, value))
        raise ValueError(
            f"neighborhood attention: query, key and value must be B, H, W, heads, d and bias {tuple(bias.shape)} "
            f"heads, {places}, {places} for an odd kernel size, here {kernel_size}; got {shapes}"
        )
    if torch.onnx.is_in_onnx_export():  # ONNX lacks the operator, and has all that the plain form is made of.
        return plain_neighborhood_attention(query, key, value, bias, kernel_size)
    return _ATTENTION(query, key, value, bias, kernel_size)


def plain_neighborhood_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, kernel_size: int) -> Tensor:
    """`neighborhood_attention` in PyTorch's own operations, differentiable any number of times."""
    q, k, v = (_heads_first(x) for x in (query, key, value))
    bands = []
    for tiles in _bands(query, kernel_size):
        logits = tiles.logits(bias).to(query.dtype)
        x = F.scaled_dot_product_attention(tiles.queries(q), tiles.keys(k), tiles.keys(v), attn_mask=logits)
        bands.append(tiles.band(x))
    return torch.cat(bands, 1) if len(bands) > 1 else bands[0]


def _heads_first(x: Tensor) -> Tensor:
    """B, H, W, heads, d -> B, heads, H, W, d."""
    return x.permute(0, 3, 1, 2, 4)


@dataclass(frozen=True)
class _Axis:
    """How the rows, or the columns, of a map are divided into blocks of queries that share the keys around them.

    Attributes:
        size: of the map, in pixels.
        kernel_size: keys that a query sees, if there are as many.
        start, blocks: the first block that is meant, and how many.
    """

    size: int
    kernel_size: int
    start: int
    blocks: int

    @property
    def block(self) -> int:
        return min(self.kernel_size, self.size)

    @property
    def seen(self) -> int:
        """Keys that the queries of a block see between them."""
        return min(2 * self.block - 1, self.size)

    @property
    def queries(self) -> int:
        """Places on the map that are queries of these blocks."""
        return min(self.filled, self.size - self.start * self.block)

    @property
    def filled(self) -> int:
        """Places of whole blocks."""
        return self.blocks * self.block

    def places_of_queries(self, device: torch.device) -> Tensor:
        """blocks, b: what fills the last block up sees what the last pixel sees."""
        places = torch.arange(self.start * self.block, self.start * self.block + self.filled, device=device)
        return places.clamp(max=self.size - 1).unflatten(0, (self.blocks, self.block))

    def places_of_keys(self, device: torch.device) -> Tensor:
        """blocks, u."""
        first = torch.arange(self.start, self.start + self.blocks, device=device) * self.block - self.kernel_size // 2
        return first.clamp(0, self.size - self.seen)[:, None] + torch.arange(self.seen, device=device)

    def visible(self, device: torch.device) -> Tensor:
        """bool blocks, b, u: whether the key is in the query's own window."""
        first = (self.places_of_queries(device) - self.kernel_size // 2).clamp(0, self.size - self.block)[..., None]
        keys = self.places_of_keys(device)[:, None]
        return (keys >= first) & (keys < first + self.block)

    def entries(self, device: torch.device) -> Tensor:
        """blocks, b, u: the index of the bias for query and key; some entry where the key is hidden."""
        offsets = self.places_of_keys(device)[:, None] - self.places_of_queries(device)[..., None]
        return (offsets + self.kernel_size - 1).clamp(0, 2 * self.kernel_size - 2)


@dataclass(frozen=True)
class _Tiles:
    """Blocks of queries and the keys that they see: B, heads * block rows * block columns, b*b (or u*u), d."""

    rows: _Axis
    columns: _Axis

    def queries(self, x: Tensor) -> Tensor:
        """B, heads, H, W, d -> tiles. The last block is filled up with zeros, which as gradients add nothing."""
        rows, columns = self.rows, self.columns
        x = x.narrow(2, rows.start * rows.block, rows.queries)
        x = F.pad(x, (0, 0, 0, columns.filled - columns.queries, 0, rows.filled - rows.queries))
        x = x.unflatten(3, (columns.blocks, columns.block)).unflatten(2, (rows.blocks, rows.block))
        return x.transpose(3, 4).flatten(4, 5).flatten(1, 3)

    def keys(self, x: Tensor) -> Tensor:
        """B, heads, H, W, d -> tiles."""
        blocks = self.rows.blocks * self.columns.blocks
        x = x.contiguous().flatten(2, 3).index_select(2, self._pixels(x.device))
        return x.unflatten(2, (blocks, -1)).flatten(1, 2)

    def add_to_map(self, tiles: Tensor, total: Tensor) -> None:
        """Adds what belongs to the keys of the tiles to the map `total`, B, heads, H * W, d."""
        total.index_add_(2, self._pixels(tiles.device), tiles.flatten(1, 2).unflatten(1, (total.shape[1], -1)))

    def _pixels(self, device: torch.device) -> Tensor:
        """block rows * block columns * u*u: the numbers of the keys' pixels, row by row."""
        row, column = (axis.places_of_keys(device) for axis in (self.rows, self.columns))
        return (row[:, None, :, None] * self.columns.size + column[:, None, :]).flatten()

    def band(self, tiles: Tensor) -> Tensor:
        """Tiles of queries -> B, rows of the band, W, heads, d."""
        rows, columns = self.rows, self.columns
        x = tiles.unflatten(2, (rows.block, columns.block)).unflatten(1, (-1, rows.blocks, columns.blocks))
        x = x.permute(0, 2, 4, 3, 5, 1, 6)  # B, block rows, b, block columns, b, heads, d
        x = x.clone(memory_format=torch.contiguous_format).flatten(3, 4).flatten(1, 2)
        return x[:, : rows.queries, : columns.queries]

    def logits(self, bias: Tensor) -> Tensor:
        """1, heads * block rows * block columns, b*b, u*u: bias, and minus infinity for what is hidden."""
        down, across = (axis.visible(bias.device) for axis in (self.rows, self.columns))
        row, column = (axis.entries(bias.device) for axis in (self.rows, self.columns))
        logits = bias[:, row][..., column].permute(0, 1, 4, 2, 5, 3, 6)
        visible = down[:, None, :, None, :, None] & across[:, None, :, None, :]
        return logits.masked_fill(~visible, -torch.inf).flatten(5, 6).flatten(3, 4).flatten(0, 2)[None]

    def add_to_bias(self, of_logits: Tensor, total: Tensor) -> None:
        """Adds the gradients of `logits` to that of the bias: heads, 2k-1, 2k-1.

        As two products with zeros and ones, whose sums have an order, unlike atomic additions.
        """
        rows, columns = self.rows, self.columns
        x = of_logits.unflatten(2, (rows.seen, columns.seen)).unflatten(1, (rows.block, columns.block))
        x = x.unflatten(0, (-1, rows.blocks, columns.blocks)).permute(0, 2, 4, 6, 1, 3, 5)
        places = torch.arange(total.shape[-1], device=total.device)
        row, column = ((axis.entries(total.device)[..., None] == places).to(total.dtype) for axis in (rows, columns))
        x = x.flatten(4) @ row.flatten(0, 2)  # heads, block columns, b, u (both of columns), 2k-1
        total += x.flatten(1, 3).transpose(1, 2) @ column.flatten(0, 2)


def _bands(query: Tensor, kernel_size: int) -> Iterator[_Tiles]:
    """The rows of blocks, as many at a time as MOST_SCORES allows."""
    rows, columns = (_Axis(size, kernel_size, 0, -(-size // min(kernel_size, size))) for size in query.shape[1:3])
    of_one = query.shape[0] * query.shape[3] * rows.block * rows.seen * columns.filled * columns.seen
    at_once = max(MOST_SCORES // max(of_one, 1), 1)
    for start in range(0, rows.blocks, at_once):
        yield _Tiles(replace(rows, start=start, blocks=min(at_once, rows.blocks - start)), columns)


@torch.library.impl("stmbench::neighborhood_attention", "default", lib=_LIBRARY)
def _forward(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, kernel_size: int) -> Tensor:
    used.note("neighborhood", used.REFERENCE)
    return plain_neighborhood_attention(query, key, value, bias, kernel_size).contiguous()


@torch.library.impl("stmbench::neighborhood_attention_backward", "default", lib=_LIBRARY)
def _backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, bias: Tensor, kernel_size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    precise = torch.promote_types(query.dtype, torch.float32)
    q, k, v, of_output = (_heads_first(x) for x in (query * query.shape[-1] ** -0.5, key, value, grad))
    of_query = []
    of_key, of_value = (torch.zeros_like(x, dtype=precise, memory_format=torch.contiguous_format) for x in (k, v))
    of_key, of_value = of_key.flatten(2, 3), of_value.flatten(2, 3)
    of_bias = torch.zeros_like(bias, dtype=precise)
    for tiles in _bands(query, kernel_size):
        queries, keys, grads = tiles.queries(q), tiles.keys(k), tiles.queries(of_output)
        scores = (queries @ keys.transpose(-1, -2)).to(precise) + tiles.logits(bias.to(precise))
        shares = scores.softmax(-1)
        tiles.add_to_map((shares.to(grad.dtype).transpose(-1, -2) @ grads).to(precise), of_value)
        of_shares = (grads @ tiles.keys(v).transpose(-1, -2)).to(precise)
        of_scores = torch.ops.aten._softmax_backward_data(of_shares, shares, -1, precise)
        tiles.add_to_bias(of_scores.sum(0), of_bias)
        of_scores = of_scores.to(query.dtype)
        tiles.add_to_map((of_scores.transpose(-1, -2) @ queries).to(precise), of_key)
        of_query.append(tiles.band(of_scores @ keys))
    of_query = torch.cat(of_query, 1) * query.shape[-1] ** -0.5
    of_key, of_value = (x.unflatten(2, query.shape[1:3]).permute(0, 2, 3, 1, 4) for x in (of_key, of_value))
    gradients = zip((of_query, of_key, of_value, of_bias), (query, key, value, bias), strict=True)
    return tuple(gradient.to(tensor.dtype).contiguous() for gradient, tensor in gradients)


@torch.library.register_fake("stmbench::neighborhood_attention", lib=_LIBRARY)
def _fake_forward(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, kernel_size: int) -> Tensor:
    return query.new_empty(query.shape)


@torch.library.register_fake("stmbench::neighborhood_attention_backward", lib=_LIBRARY)
def _fake_backward(grad: Tensor, *inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return tuple(tensor.new_empty(tensor.shape) for tensor in inputs[:4])


def _remember(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.kernel_size = inputs
    ctx.save_for_backward(*tensors)


def _derivative(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *_ATTENTION_BACKWARD(grad, *ctx.saved_tensors, ctx.kernel_size), None


def _second_derivative(ctx: FunctionCtx, *grad_grads: Tensor) -> tuple[Tensor | None, ...]:
    """Differentiates the plain form twice."""
    grad, *inputs = (tensor.detach().requires_grad_() for tensor in ctx.saved_tensors)
    with torch.enable_grad():
        output = plain_neighborhood_attention(*inputs, ctx.kernel_size)
        first = torch.autograd.grad(output, inputs, grad, create_graph=True)
        second = torch.autograd.grad(first, (grad, *inputs), grad_grads, materialize_grads=True)
    return *second, None


torch.library.register_autograd("stmbench::neighborhood_attention", _derivative, setup_context=_remember, lib=_LIBRARY)
torch.library.register_autograd(
    "stmbench::neighborhood_attention_backward", _second_derivative, setup_context=_remember, lib=_LIBRARY
)


def macs(rows: int, columns: int, channels: int, kernel_size: int) -> int:
    """Multiply-accumulates for one map of `channels` in all heads: scores and sums of values for the keys of each."""
    return 2 * rows * columns * channels * min(kernel_size, rows) * min(kernel_size, columns)


@register_flop_formula(torch.ops.stmbench.neighborhood_attention)
def _flops(query: tuple[int, ...], key: Any, value: Any, bias: Any, kernel_size: int, *, out_shape: Any = None) -> int:
    batch, rows, columns, heads, width = query
    return 2 * batch * macs(rows, columns, heads * width, kernel_size)


@register_flop_formula(torch.ops.stmbench.neighborhood_attention_backward)
def _backward_flops(grad: Any, *arguments: Any, out_shape: Any = None) -> int:
    # Scores once more, and two products for each one of the forward pass.
    return _flops(*arguments) // 2 * 5
