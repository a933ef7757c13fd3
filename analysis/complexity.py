"""Parameters, multiply-accumulates (MACs) and activations of a network: in total, per stage, per kind of operator.

fvcore traces the network and adds up the formulas of op_macs.py; nothing is computed, so a network on the meta device
will do. A count that could be wrong is an error: an operator without a formula, a total that torch's own counter
(torch.utils.flop_counter) does not confirm, a mixer that declares other costs than were traced.

MACs are called MACs: what many papers print as "FLOPs" is the same number, and a FLOP count proper is twice that.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mixers import Mixer

from .op_macs import ACTIVATIONS, FREE_OPERATORS, HANDLES
from .settings import CountingRule
from .tracing import meta_tracing

with warnings.catch_warnings():
    # fvcore's package compiles a loss function, which nobody here calls, with the deprecated torch.jit.script.
    warnings.simplefilter("ignore", FutureWarning)
    from fvcore.nn import FlopCountAnalysis

PRODUCTS = frozenset({"convolution", "dynamic_convolution", "linear", "matmul", "attention"})
"""Kinds that torch's own counter has formulas for."""

NORMS_AND_POOLING = frozenset(
    {"layer_norm", "batch_norm", "group_norm", "instance_norm", "adaptive_avg_pool2d", "upsample_nearest2d"}
)
"""Kinds that fvcore counts with its own formulas although they accumulate no products; the last only copies."""

INTERPOLATION = "upsample_bilinear2d"
"""Four products for each pixel that comes out, to fvcore as well."""

AVOIDED = "avoided_work"
"""What the authors' code does and the mixers here do not need to."""

POOLING = "pooling"
"""A mean, for which the authors' code has an operator that fvcore counts."""

TOLERANCE = 0.005
"""Largest share by which two counts of the same thing may differ."""


class ComplexityError(ValueError):
    """A network whose cost cannot be told; the message names the operator or mixer and its module."""


@dataclass(frozen=True)
class StageComplexity:
    """One part of a network. The parts of a network are disjoint and add up to the whole."""

    name: str
    params: int
    macs: int
    activations: int


@dataclass(frozen=True)
class Complexity:
    """Cost of one image.

    Attributes:
        resolution: rows and columns of the image, in pixels.
        rule: which operators `macs` counts.
        params: number of parameters.
        macs: multiply-accumulates.
        activations: output elements of convolutions, linear layers, matrix products, attention, weighted sums and
            DCNv3; attention weights inside fused attention, and samples, never need to reach memory and are left out.
        by_stage: the parts of the network, in the order in which the image passes through them.
        by_op: MACs per kind of operator.
        uncounted: calls of each operator that is free on purpose (op_macs.FREE_OPERATORS).
    """

    resolution: tuple[int, int]
    rule: CountingRule
    params: int
    macs: int
    activations: int
    by_stage: list[StageComplexity]
    by_op: dict[str, int]
    uncounted: dict[str, int] = field(default_factory=dict)


def measure(
    network: nn.Module,
    resolution: tuple[int, int],
    in_chans: int = 3,
    *,
    rule: CountingRule = CountingRule.macs,
) -> Complexity:
    """Cost of one image of `resolution` (H, W) and `in_chans` channels, in evaluation mode.

    The network may be on any device; on meta, nothing is allocated or computed.

    Raises:
        ComplexityError: an operator without a formula, or two counts that disagree.
    """
    image = _image(network, resolution, in_chans)
    analysis = FlopCountAnalysis(network, (image,)).set_op_handle(**HANDLES)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with _evaluating(network), _visits(network) as visits, torch.no_grad(), meta_tracing() as kernels:
        counts = analysis.by_module_and_operator()
    _refuse_unknown_operators(network, analysis)
    _confirm_total(counts[""], kernels.flops)
    _confirm_mixers(network, counts, visits)
    if rule == CountingRule.authors:
        _add_avoided_work(network, counts, visits)
    return Complexity(
        resolution=resolution,
        rule=rule,
        params=_params(network),
        macs=_macs(counts[""], rule),
        activations=int(counts[""][ACTIVATIONS]),
        by_stage=_by_stage(network, counts, rule, visits),
        by_op=_counted(counts[""], rule),
        uncounted=dict(analysis.unsupported_ops().most_common()),
    )


Counts = Mapping[str, Counter[str]]
"""fvcore's result: module name ("" is the network) -> MACs per kind of operator, and activations."""

Visits = dict[str, list[tuple[int, ...]]]
"""Module name -> shape of its input tensor at each call; in the order of the first calls."""


def _counted(counts: Counter[str], rule: CountingRule) -> dict[str, int]:
    """MACs of the kinds of operators that `rule` counts, the largest first."""
    kinds = {
        CountingRule.macs: set(counts) - NORMS_AND_POOLING - {ACTIVATIONS, POOLING},
        CountingRule.fvcore: PRODUCTS | NORMS_AND_POOLING | {INTERPOLATION},
        CountingRule.authors: PRODUCTS | NORMS_AND_POOLING | {INTERPOLATION, POOLING, AVOIDED},
        CountingRule.conv_linear: {"convolution", "linear"},
    }[rule]
    return {kind: int(macs) for kind, macs in counts.most_common() if kind in kinds}


def _macs(counts: Counter[str], rule: CountingRule) -> int:
    return sum(_counted(counts, rule).values())


def _image(network: nn.Module, resolution: tuple[int, int], in_chans: int) -> Tensor:
    weight = next(network.parameters(), torch.empty(0))
    return torch.empty(1, in_chans, *resolution, device=weight.device, dtype=weight.dtype)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _visits(network: nn.Module) -> Iterator[Visits]:
    visits: Visits = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def visit(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            visits.setdefault(name, []).append(
                tuple(inputs[0].shape) if inputs and isinstance(inputs[0], Tensor) else ()
            )

        return visit

    hooks = [module.register_forward_pre_hook(hook(name)) for name, module in network.named_modules()]
    try:
        yield visits
    finally:
        for each in hooks:
            each.remove()


def _refuse_unknown_operators(network: nn.Module, analysis: FlopCountAnalysis) -> None:
    unknown = set(analysis.unsupported_ops()) - FREE_OPERATORS
    if not unknown:
        return
    # The modules are listed from the outside in, so the last that calls an operator is the innermost.
    places = {op: name for name, _ in network.named_modules() for op in unknown & set(analysis.unsupported_ops(name))}
    listing = ", ".join(f"{op} in {name or 'the network itself'}" for op, name in sorted(places.items()))
    raise ComplexityError(f"no formula for {listing}: add one to analysis.op_macs.HANDLES (or to FREE_OPERATORS)")


def _confirm_total(counts: Counter[str], flops: int) -> None:
    """torch's count is of the operators that really run, a level below the trace, by formulas of its own."""
    traced = int(sum(macs for kind, macs in counts.items() if kind in PRODUCTS))
    if not _agree(traced, flops // 2):
        raise ComplexityError(f"the trace gives {traced} MACs of products, torch.utils.flop_counter {flops // 2}")


def _confirm_mixers(network: nn.Module, counts: Counts, visits: Visits) -> None:
    """A mixer's closed form also knows products that hide from a trace, such as a multiplication and a sum."""
    for name, module in network.named_modules():
        # One without a closed form declares nothing: the trace is what is known.
        if isinstance(module, Mixer) and name in visits and type(module).macs is not Mixer.macs:
            declared = sum(batch * module.macs((rows, columns)) for batch, rows, columns, _ in visits[name])
            traced = _macs(counts[name], CountingRule.macs)
            if not _agree(traced, declared):
                raise ComplexityError(
                    f"mixer {type(module).__name__} ({name}): macs() declares {declared}, the trace counts {traced}; "
                    "correct macs(), or give products that the trace cannot see a formula in analysis.op_macs.HANDLES"
                )


def _add_avoided_work(network: nn.Module, counts: Counts, visits: Visits) -> None:
    """To each mixer, and to every module that it is a part of."""
    for name, module in network.named_modules():
        if isinstance(module, Mixer) and name in visits:
            sizes = [(batch, (rows, columns)) for batch, rows, columns, _ in visits[name]]
            more = sum(batch * (module.authors_macs(size) - module.macs(size)) for batch, size in sizes)
            parts = name.split(".")
            for depth in range(len(parts) + 1):
                counts[".".join(parts[:depth])][AVOIDED] += more


def _agree(one: int, other: int) -> bool:
    return abs(one - other) <= TOLERANCE * max(one, other)


def _by_stage(network: nn.Module, counts: Counts, rule: CountingRule, visits: Visits) -> list[StageComplexity]:
    order = {name: position for position, name in enumerate(visits)}
    parts = sorted(_parts(network), key=lambda name: order.get(name, len(order)))
    rows = [
        StageComplexity(
            name, _params(network.get_submodule(name)), _macs(counts[name], rule), int(counts[name][ACTIVATIONS])
        )
        for name in parts
    ]
    rest = StageComplexity(
        "outside of these",
        _params(network) - sum(row.params for row in rows),
        _macs(counts[""], rule) - sum(row.macs for row in rows),
        int(counts[""][ACTIVATIONS]) - sum(row.activations for row in rows),
    )
    return [row for row in [*rows, rest] if row.params or row.macs]


def _parts(network: nn.Module) -> Iterator[str]:
    """The network's children; a list of stages is replaced by its stages. timm's feature_info tells what is a stage."""
    stages = tuple(stage["module"] for stage in getattr(network, "feature_info", ()))
    for name, child in network.named_children():
        if isinstance(child, nn.ModuleList) or any(stage.startswith(f"{name}.") for stage in stages):
            yield from (f"{name}.{key}" for key, _ in child.named_children())
        else:
            yield name


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
