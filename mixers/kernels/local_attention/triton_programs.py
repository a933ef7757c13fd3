# ruff: noqa: ANN001, ANN201, N803  (Triton's kernels have no types, and constants are upper case by its convention)
"""The programs in Triton that compute local attention and its gradients; triton_kernels.py launches them.

Products have operands of the inputs' dtype and sums in float32; all else is float32.
"""

import triton
import triton.language as tl

from .triton_window import (
    bias_places,
    block_corner,
    load,
    load_table,
    on_map,
    ones_at,
    pixels,
    places,
    relative_logits,
    vectors,
)


@triton.jit
def add_logits(scores, bias, bias_place, pairs, row_logits, at_row, column_logits, at_column, PRECISION: tl.constexpr):
    """Adds to queries x keys what there is of a bias and of relative logits."""
    if bias is not None:
        scores += tl.load(bias + bias_place, mask=pairs, other=0.0).to(tl.float32)
    if row_logits is not None:
        scores = tl.dot(row_logits, at_row, scores, input_precision=PRECISION)
        scores = tl.dot(column_logits, at_column, scores, input_precision=PRECISION)
    return scores


@triton.jit
def forward_program(
    output,
    log_sums,
    query,
    key,
    value,
    bias,
    row_table,
    column_table,
    output_strides,
    log_sums_strides,
    query_strides,
    key_strides,
    value_strides,
    rows,
    columns,
    heads,
    grid,
    tiles,
    scale,
    BLOCK: tl.constexpr,
    HALO: tl.constexpr,
    WINDOW: tl.constexpr,
    WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    ENTRIES: tl.constexpr,
    PLACES: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """A tile of a block's queries in one head, with all keys that they see: softmax as they stream past."""
    number = tl.program_id(0)
    head = number % heads
    image, top, left = block_corner(number // heads // tiles, grid)
    first_row, block_rows = on_map(top, BLOCK, rows)
    first_column, block_columns = on_map(left, BLOCK, columns)
    window_row, window_rows = on_map(top - HALO, WINDOW, rows)
    window_column, window_columns = on_map(left - HALO, WINDOW, columns)

    start = number // heads % tiles * QUERIES
    row, column, exists = pixels(start, first_row, first_column, block_rows, block_columns, QUERIES)
    q = load(query, query_strides, image, head, row, column, exists, WIDTH, CHANNELS)
    row_logits, column_logits = None, None
    if row_table is not None:
        entries = load_table(row_table, WINDOW, WIDTH, ENTRIES, CHANNELS)
        row_logits = relative_logits(q, entries, row - top, WINDOW, ENTRIES, PLACES, PRECISION)
        entries = load_table(column_table, WINDOW, WIDTH, ENTRIES, CHANNELS)
        column_logits = relative_logits(q, entries, column - left, WINDOW, ENTRIES, PLACES, PRECISION)

    largest = tl.full((QUERIES,), float("-inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    mixed = tl.zeros((QUERIES, CHANNELS), tl.float32)
    for first_key in range(0, window_rows * window_columns, KEYS):
        key_row, key_column, key_exists = pixels(
            first_key, window_row, window_column, window_rows, window_columns, KEYS
        )
        k = load(key, key_strides, image, head, key_row, key_column, key_exists, WIDTH, CHANNELS)
        v = load(value, value_strides, image, head, key_row, key_column, key_exists, WIDTH, CHANNELS)
        pairs = exists[:, None] & key_exists[None, :]
        bias_place = bias_places(head, row, column, key_row, key_column, top, left, BLOCK, HALO)
        at_row = ones_at(key_row - top + HALO, PLACES)
        at_column = ones_at(key_column - left + HALO, PLACES)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        scores = add_logits(scores, bias, bias_place, pairs, row_logits, at_row, column_logits, at_column, PRECISION)
        scores = tl.where(key_exists[None, :], scores, float("-inf"))
        above = tl.maximum(largest, tl.max(scores, 1))
        shrink = tl.exp(largest - above)
        shares = tl.exp(scores - above[:, None])
        total = total * shrink + tl.sum(shares, 1)
        mixed = tl.dot(shares.to(v.dtype), v, mixed * shrink[:, None], input_precision=PRECISION)
        largest = above

    mixed = mixed / total[:, None]
    place, mask = vectors(places(output_strides, image, head, row, column), exists, WIDTH, CHANNELS)
    tl.store(output + place, mixed.to(output.dtype.element_ty), mask=mask)
    tl.store(log_sums + places(log_sums_strides, image, head, row, column), largest + tl.log(total), mask=exists)


@triton.jit
def add_to(sums, place, summands, mask, ACCUMULATE: tl.constexpr):
    """Stores, or adds to what is there, which nobody else touches meanwhile."""
    if ACCUMULATE:
        summands += tl.load(sums + place, mask=mask, other=0.0)
    tl.store(sums + place, summands.to(sums.dtype.element_ty), mask=mask)


@triton.jit
def to_entries(of_places, of_query, WINDOW: tl.constexpr, ENTRIES: tl.constexpr):
    """Queries x places in the window -> queries x entries of a table; `of_query`: the query's place in the block."""
    place = tl.arange(0, ENTRIES)[None, :] + of_query[:, None] - (WINDOW - 1)
    inside = (place >= 0) & (place < WINDOW)
    return tl.where(inside, tl.gather(of_places, tl.where(inside, place, 0), 1), 0.0)


@triton.jit
def backward_program(
    grad_query,
    grad_key,
    grad_value,
    grad_bias,
    grad_row_table,
    grad_column_table,
    grad,
    output,
    log_sums,
    query,
    key,
    value,
    bias,
    row_table,
    column_table,
    own_strides,
    log_sums_strides,
    query_strides,
    key_strides,
    value_strides,
    rows,
    columns,
    heads,
    grid,
    blocks,
    tile,
    scale,
    BLOCK: tl.constexpr,
    HALO: tl.constexpr,
    WINDOW: tl.constexpr,
    WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    ENTRIES: tl.constexpr,
    PLACES: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
    ACCUMULATE: tl.constexpr,
):
    """A tile of each block's queries in one head, for some of the blocks of a grid, one after the other.

    No two windows of the grid overlap, so nobody else adds to the gradients of this program's keys meanwhile; its sums
    of the gradients of bias and tables are its own until the last launch. `own_strides`: of the output, its gradient
    and the gradients of query, key and value.
    """
    head = tl.program_id(0) % heads
    part = tl.program_id(0) // heads
    dtype = query.dtype.element_ty
    if row_table is not None:
        row_entries = load_table(row_table, WINDOW, WIDTH, ENTRIES, CHANNELS)
        column_entries = load_table(column_table, WINDOW, WIDTH, ENTRIES, CHANNELS)
        grad_row_entries = tl.zeros((ENTRIES, CHANNELS), tl.float32)
        grad_column_entries = tl.zeros((ENTRIES, CHANNELS), tl.float32)

    for block in range(part, blocks, tl.num_programs(0) // heads):
        image, top, left = block_corner(block, grid)
        first_row, block_rows = on_map(top, BLOCK, rows)
        first_column, block_columns = on_map(left, BLOCK, columns)
        window_row, window_rows = on_map(top - HALO, WINDOW, rows)
        window_column, window_columns = on_map(left - HALO, WINDOW, columns)

        row, column, exists = pixels(tile * QUERIES, first_row, first_column, block_rows, block_columns, QUERIES)
        q = load(query, query_strides, image, head, row, column, exists, WIDTH, CHANNELS)
        g = load(grad, own_strides, image, head, row, column, exists, WIDTH, CHANNELS)
        mixed = load(output, own_strides, image, head, row, column, exists, WIDTH, CHANNELS)
        mean = tl.sum(g.to(tl.float32) * mixed.to(tl.float32), 1)
        log_sum = tl.load(
            log_sums + places(log_sums_strides, image, head, row, column), mask=exists, other=float("inf")
        )
        row_logits, column_logits = None, None
        if row_table is not None:
            row_logits = relative_logits(q, row_entries, row - top, WINDOW, ENTRIES, PLACES, PRECISION)
            column_logits = relative_logits(q, column_entries, column - left, WINDOW, ENTRIES, PLACES, PRECISION)
            by_row = tl.zeros((QUERIES, PLACES), tl.float32)
            by_column = tl.zeros((QUERIES, PLACES), tl.float32)

        of_query = tl.zeros((QUERIES, CHANNELS), tl.float32)
        for first_key in range(0, window_rows * window_columns, KEYS):
            key_row, key_column, key_exists = pixels(
                first_key, window_row, window_column, window_rows, window_columns, KEYS
            )
            k = load(key, key_strides, image, head, key_row, key_column, key_exists, WIDTH, CHANNELS)
            v = load(value, value_strides, image, head, key_row, key_column, key_exists, WIDTH, CHANNELS)
            pairs = exists[:, None] & key_exists[None, :]
            bias_place = bias_places(head, row, column, key_row, key_column, top, left, BLOCK, HALO)
            at_row = ones_at(key_row - top + HALO, PLACES)
            at_column = ones_at(key_column - left + HALO, PLACES)
            scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
            scores = add_logits(
                scores, bias, bias_place, pairs, row_logits, at_row, column_logits, at_column, PRECISION
            )
            scores = tl.where(key_exists[None, :], scores, float("-inf"))
            shares = tl.exp(scores - log_sum[:, None])
            of_scores = shares * (tl.dot(g, tl.trans(v), input_precision=PRECISION) - mean[:, None])
            if bias is not None:
                own_place = bias_place + part.to(tl.int64) * heads * (WINDOW * WINDOW * BLOCK * BLOCK)
                add_to(grad_bias, own_place, of_scores, pairs, True)
            of_scores = of_scores.to(dtype)
            of_query = tl.dot(of_scores, k, of_query, input_precision=PRECISION)
            if row_table is not None:
                by_row = tl.dot(of_scores, tl.trans(at_row).to(dtype), by_row, input_precision=PRECISION)
                by_column = tl.dot(of_scores, tl.trans(at_column).to(dtype), by_column, input_precision=PRECISION)

            place, mask = vectors(places(own_strides, image, head, key_row, key_column), key_exists, WIDTH, CHANNELS)
            of_key = tl.dot(tl.trans(of_scores), q, input_precision=PRECISION) * scale
            add_to(grad_key, place, of_key, mask, ACCUMULATE)
            of_value = tl.dot(tl.trans(shares.to(dtype)), g, input_precision=PRECISION)
            add_to(grad_value, place, of_value, mask, ACCUMULATE)

        of_query *= scale
        if row_table is not None:
            of_entries = to_entries(by_row, row - top, WINDOW, ENTRIES).to(dtype)
            of_query = tl.dot(of_entries, row_entries, of_query, input_precision=PRECISION)
            grad_row_entries = tl.dot(tl.trans(of_entries), q, grad_row_entries, input_precision=PRECISION)
            of_entries = to_entries(by_column, column - left, WINDOW, ENTRIES).to(dtype)
            of_query = tl.dot(of_entries, column_entries, of_query, input_precision=PRECISION)
            grad_column_entries = tl.dot(tl.trans(of_entries), q, grad_column_entries, input_precision=PRECISION)
        place, mask = vectors(places(own_strides, image, head, row, column), exists, WIDTH, CHANNELS)
        tl.store(grad_query + place, of_query.to(grad_query.dtype.element_ty), mask=mask)
        if bias is not None:
            tl.debug_barrier()  # the next block's sums are those of this one, in other threads

    if row_table is not None:
        entry = tl.arange(0, ENTRIES)
        own = (tl.program_id(0).to(tl.int64) * (2 * WINDOW - 1) + entry) * WIDTH
        place, mask = vectors(own, entry < 2 * WINDOW - 1, WIDTH, CHANNELS)
        add_to(grad_row_table, place, grad_row_entries, mask, True)
        add_to(grad_column_table, place, grad_column_entries, mask, True)
