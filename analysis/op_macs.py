"""What each torch operator costs in multiply-accumulates (MACs), and which operators are free on purpose.

One MAC is one multiplication whose product is added to a sum. Every formula takes the operator's traced arguments and
output and follows from their shapes alone. Biases, and the additions inside norms and pooling, are no MACs.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

Value = Any  # torch._C.Value, which carries no usable annotations
Formula = Callable[[Sequence[Value], Value], int]
Handle = Callable[[Sequence[Value], Sequence[Value]], Counter[str]]

ACTIVATIONS = "activations"
"""Key under which a handle reports output elements, beside the MACs under the operator's kind."""


def shape(value: Value) -> tuple[int, ...]:
    """Sizes of a traced tensor."""
    return tuple(value.type().sizes())


def convolution_macs(inputs: Sequence[Value], output: Value) -> int:
    """Every output element (transposed: input element) meets one filter. Zero padding is counted: it is computed."""
    image, weight, transposed = inputs[0], inputs[1], inputs[6].toIValue()
    return math.prod(shape(image if transposed else output)) * math.prod(shape(weight)[1:])


def linear_macs(inputs: Sequence[Value], output: Value) -> int:
    return math.prod(shape(output)) * shape(inputs[1])[-1]


def product_macs(inputs: Sequence[Value], output: Value) -> int:
    """matmul, mm, bmm; any batch dimensions, broadcast or not."""
    return math.prod(shape(output)) * shape(inputs[0])[-1]


def added_product_macs(inputs: Sequence[Value], output: Value) -> int:
    """addmm, baddbmm: the first argument is only added."""
    return product_macs(inputs[1:], output)


def einsum_macs(inputs: Sequence[Value], output: Value) -> int:
    """Two operands: the product of the sizes of all distinct letters.

    Raises:
        ValueError: more than two operands, whose cost depends on the order of contraction, or an ellipsis.
    """
    equation = inputs[0].toIValue().replace(" ", "")
    operands = [shape(operand) for operand in inputs[1].node().inputs()]
    if len(operands) != 2 or "." in equation:
        raise ValueError(f"einsum {equation!r}: only two operands without an ellipsis can be counted; write it as such")
    letters = equation.split("->")[0].split(",")
    sizes = {letter: size for pair in zip(letters, operands, strict=True) for letter, size in zip(*pair, strict=True)}
    return math.prod(sizes.values())


def attention_macs(inputs: Sequence[Value], output: Value) -> int:
    """scaled_dot_product_attention: queries × keys and weights × values, for every pair; masks save nothing."""
    query, key, value = (shape(tensor) for tensor in inputs[:3])
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def grid_sampler_macs(inputs: Sequence[Value], output: Value) -> int:
    """Four weighted neighbours for each element that is sampled bilinearly, none for the nearest one.

    Raises:
        ValueError: another interpolation, or a volume.
    """
    neighbours = {0: 4, 1: 0}
    mode = inputs[2].toIValue()
    if mode not in neighbours or len(shape(output)) != 4:
        raise ValueError("grid_sampler: only bilinear and nearest sampling of images can be counted")
    return neighbours[mode] * math.prod(shape(output))


def handle(kind: str, macs: Formula) -> Handle:
    """fvcore's form of a formula: MACs under `kind`, and output elements as activations."""

    def count(inputs: Sequence[Value], outputs: Sequence[Value]) -> Counter[str]:
        return Counter({kind: macs(inputs, outputs[0]), ACTIVATIONS: math.prod(shape(outputs[0]))})

    return count


def convolution_handle(inputs: Sequence[Value], outputs: Sequence[Value]) -> Counter[str]:
    """A filter that is not a parameter was computed from the image: dynamic convolution, a kind of its own."""
    learned = inputs[1].node().kind() == "prim::Param"
    return handle("convolution" if learned else "dynamic_convolution", convolution_macs)(inputs, outputs)


HANDLES: dict[str, Handle] = {
    "aten::_convolution": convolution_handle,
    "aten::linear": handle("linear", linear_macs),
    "aten::matmul": handle("matmul", product_macs),
    "aten::mm": handle("matmul", product_macs),
    "aten::bmm": handle("matmul", product_macs),
    "aten::addmm": handle("matmul", added_product_macs),
    "aten::baddbmm": handle("matmul", added_product_macs),
    "aten::einsum": handle("matmul", einsum_macs),
    "aten::scaled_dot_product_attention": handle("attention", attention_macs),
    "aten::grid_sampler": handle("sampling", grid_sampler_macs),
}
"""Formula of every operator that multiplies and accumulates. A new operator (`mylib::scan`) adds its own entry."""

FREE_OPERATORS = frozenset(
    f"aten::{name}"
    for names in (
        # arithmetic, element by element
        "abs add add_ sub sub_ rsub mul mul_ div div_ neg pow sqrt rsqrt reciprocal exp log sin cos where sign",
        "addcmul clamp_min clamp_max minimum maximum bitwise_and bitwise_or logical_and logical_or logical_not",
        "lt le gt ge eq ne __or__ masked_fill_",
        # activations and softmax
        "relu6 gelu silu silu_ sigmoid tanh hardswish hardsigmoid leaky_relu softmax log_softmax",
        # reductions without products, and pooling
        "sum mean amax amin cumsum max_pool2d avg_pool2d adaptive_max_pool2d",
        # copies, views and indices
        "pad unfold im2col as_strided repeat repeat_interleave tile movedim swapaxes unflatten alias clone fill_",
        "expand_as view_as reshape_as new_ones ones_like zeros_like full linspace meshgrid outer index_select",
        "upsample_nearest2d pixel_shuffle pixel_unshuffle alpha_dropout feature_dropout dropout_ zero_ lift_fresh",
        "meshgrid tensor_split roll flip triu tril floor ceil round",
    )
    for name in names.split()
)
"""Counted as zero on purpose, beside what fvcore's own list ignores (shapes, copies, integers, comparisons)."""
