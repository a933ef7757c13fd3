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

RESHAPING = frozenset(("aten::repeat", "aten::squeeze", "aten::unsqueeze"))
"""What is done to a parameter before it is a filter: repeated for several groups of channels, or given other axes."""
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
    """Two operands: the product of the sizes of all distinct axes.

    Raises:
        ValueError: more operands, whose cost depends on the order in which they are contracted.
    """
    equation = inputs[0].toIValue().replace(" ", "")
    operands = [shape(operand) for operand in inputs[1].node().inputs()]
    if len(operands) > 2:
        raise ValueError(
            f"einsum {equation!r}: the cost of {len(operands)} operands is unknown; contract two at a time"
        )
    sizes: dict[str, int] = {}
    for term, operand in zip(equation.split("->")[0].split(","), operands, strict=True):
        before, _, after = term.partition("...")
        # The axes under an ellipsis are aligned at its end, and axes of size 1 are broadcast.
        hidden = [f"...{place}" for place in range(len(before) + len(after) - len(operand), 0)]
        for axis, size in zip([*before, *hidden, *after], operand, strict=True):
            sizes[axis] = max(size, sizes.get(axis, 1))
    return math.prod(sizes.values()) if len(operands) == 2 else 0


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


def bilinear_macs(inputs: Sequence[Value], output: Value) -> int:
    """Four weighted neighbours for each pixel, as many as `grid_sampler_macs` counts."""
    return 4 * math.prod(shape(output))


def dcnv3_macs(inputs: Sequence[Value], output: Value) -> int:
    """Every point gives each channel four products of the interpolation and one by the point's weight."""
    points = shape(inputs[2])[-1]
    return 5 * points * math.prod(shape(output))


def involution_macs(inputs: Sequence[Value], output: Value) -> int:
    """Every neighbour of a pixel gives each channel one product by the pixel's weight."""
    return inputs[2].toIValue() ** 2 * math.prod(shape(output))


def neighborhood_attention_macs(inputs: Sequence[Value], output: Value) -> int:
    """The scores and weighted values of each pixel's own neighbours: as many as the map has, if it has fewer."""
    keys = math.prod(min(inputs[4].toIValue(), size) for size in shape(output)[1:3])
    return 2 * keys * math.prod(shape(output))


def selective_scan_macs(inputs: Sequence[Value], output: Value) -> int:
    """On each of four paths an element has four products for each state, and two more."""
    states = shape(inputs[3])[-1]
    return 4 * (4 * states + 2) * math.prod(shape(output))


def spectral_filter_macs(inputs: Sequence[Value], output: Value) -> int:
    """As the paper of global filters counts: log2 of the pixels for both transforms, and one product for the filter."""
    pixels = math.prod(shape(output)[1:3])
    return math.prod(shape(output)) * (math.ceil(math.log2(pixels)) + 1)


def handle(kind: str, macs: Formula) -> Handle:
    """fvcore's form of a formula: MACs under `kind`, and output elements as activations."""

    def count(inputs: Sequence[Value], outputs: Sequence[Value]) -> Counter[str]:
        return Counter({kind: macs(inputs, outputs[0]), ACTIVATIONS: math.prod(shape(outputs[0]))})

    return count


def convolution_handle(inputs: Sequence[Value], outputs: Sequence[Value]) -> Counter[str]:
    """A filter that is not a parameter was computed from the image: dynamic convolution, a kind of its own."""
    weight = inputs[1]
    while weight.node().kind() in RESHAPING:
        weight = next(weight.node().inputs())
    learned = weight.node().kind() == "prim::Param"
    return handle("convolution" if learned else "dynamic_convolution", convolution_macs)(inputs, outputs)


def sampling_handle(inputs: Sequence[Value], outputs: Sequence[Value]) -> Counter[str]:
    """Samples are operands of the weighted sum that follows, which a kernel never writes to memory: no activations."""
    return Counter({"sampling": grid_sampler_macs(inputs, outputs[0])})


def upsampling_handle(inputs: Sequence[Value], outputs: Sequence[Value]) -> Counter[str]:
    """Under fvcore's name; no activations, as for samples."""
    return Counter({"upsample_bilinear2d": bilinear_macs(inputs, outputs[0])})


def sum_handle(inputs: Sequence[Value], outputs: Sequence[Value]) -> Counter[str]:
    """A sum is free, unless it adds up the products of two tensors: then each product is a MAC."""
    product = inputs[0].node()
    if product.kind() != "aten::mul" or not all(shape(factor) for factor in product.inputs()):
        return Counter()
    return Counter({"weighted_sum": math.prod(shape(inputs[0])), ACTIVATIONS: math.prod(shape(outputs[0]))})


def addcmul_handle(inputs: Sequence[Value], outputs: Sequence[Value]) -> Counter[str]:
    """One product is added to each element. A running sum of many terms is one activation map, not many."""
    elements = math.prod(shape(outputs[0]))
    continued = inputs[0].node().kind() == "aten::addcmul"
    return Counter({"weighted_sum": elements, ACTIVATIONS: 0 if continued else elements})


def mean_handle(inputs: Sequence[Value], outputs: Sequence[Value]) -> Counter[str]:
    """Global pooling, which fvcore counts at 1 for each element that goes in."""
    return Counter({"pooling": math.prod(shape(inputs[0]))})


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
    "aten::grid_sampler": sampling_handle,
    "aten::upsample_bilinear2d": upsampling_handle,
    "stmbench::dcnv3": handle("sampling", dcnv3_macs),
    "stmbench::involution": handle("weighted_sum", involution_macs),
    "stmbench::neighborhood_attention": handle("neighborhood_attention", neighborhood_attention_macs),
    "stmbench::selective_scan": handle("scan", selective_scan_macs),
    "stmbench::spectral_filter": handle("spectral_filter", spectral_filter_macs),
    "aten::sum": sum_handle,
    "aten::mean": mean_handle,
    "aten::addcmul": addcmul_handle,
}
"""Formula of every operator that multiplies and accumulates. A new operator (`mylib::scan`) adds its own entry."""

FREE_OPERATORS = frozenset(
    f"aten::{name}"
    for names in (
        # arithmetic and comparisons, element by element
        "abs add add_ sub sub_ rsub mul mul_ div div_ neg pow square sqrt rsqrt reciprocal exp expm1 log log1p log2",
        "sin cos erf floor ceil round sign remainder fmod floor_divide where minimum maximum clamp clamp_ clamp_min",
        "clamp_max eq ne lt le gt ge logical_and logical_or logical_not __or__ __and__ masked_fill masked_fill_",
        # activations, softmax and dropout
        "relu relu_ relu6 gelu silu silu_ mish elu celu selu softplus sigmoid tanh hardtanh hardswish hardsigmoid",
        "leaky_relu prelu glu softmax log_softmax dropout",
        # reductions of one tensor, norms without fvcore's formula, and pooling
        "all any amax amin max min argmax argmin prod cumsum cumprod logsumexp var std norm linalg_vector_norm",
        "rms_norm max_pool1d max_pool2d avg_pool1d avg_pool2d adaptive_max_pool2d",
        # copies, views and indices
        "pad roll flip rot90 unfold im2col col2im as_strided repeat repeat_interleave tile unflatten alias clone fill_",
        "zero_ expand_as view_as broadcast_tensors broadcast_to tensor_split split_with_sizes unbind movedim moveaxis",
        "swapaxes swapdims narrow diagonal tril triu new_ones new_zeros new_full zeros_like ones_like full_like",
        "linspace meshgrid index_select gather take_along_dim scatter scatter_ index_put_ sort argsort topk",
        "pixel_shuffle pixel_unshuffle channel_shuffle",
    )
    for name in names.split()
)
"""Counted as zero on purpose, beside what fvcore's own list ignores (shapes, copies, integers, comparisons)."""
