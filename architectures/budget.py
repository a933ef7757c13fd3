"""How wide and deep the unified network around a mixer must be to cost what a scale costs.

A scale's budget is the median of its published variants, in parameters or in multiply-accumulates, at 224 x 224 pixels
and 1000 classes. Parameters are counted on the network's own parts, built on the meta device; multiply-accumulates by
the mixers' closed forms and by those of the convolutions and linear layers around them, and nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, pairwise, product
from math import inf, log
from statistics import median
from typing import Any

import torch
from torch import nn

from mixers import MIXERS, build_mixer

from .block import Block, PositionEmbedding
from .mixer_options import STAGES, options_of_blocks
from .stages import ConvHead, Downsample, Stem, stage_resolutions
from .variants import VARIANTS, PerStage, Variant

BUDGETS = ("params", "macs")
# The aim is half of what is promised, so that another rule of counting still finds the promise kept.
AIM, PROMISE = 0.01, 0.02
RESOLUTION = (224, 224)
RESOLUTIONS = stage_resolutions(RESOLUTION)
IN_CHANS = 3
NUM_CLASSES = 1000


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-accumulates for one image."""

    params: int = 0
    macs: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs)


def network_cost(mixers: Sequence[str], variant: Variant) -> Cost:
    """Cost of the unified network with these four mixers.

    Raises: ValueError when a mixer refuses its width or its options.
    """
    costs = _Costs(mixers, variant)
    cost = costs.of(variant.dims, variant.depths)
    if cost is None:
        raise costs.refusal
    return cost


@cache
def scale_budget(scale: str, budget: str) -> float:
    """Median over the published variants of `scale` of what `budget` names, "params" or "macs"."""
    published = [(mixer, variants[scale]) for mixer, variants in VARIANTS.items()]
    return median(getattr(network_cost((mixer,) * STAGES, variant), budget) for mixer, variant in published)


def matched_variant(mixers: Sequence[str], scale: str, budget: str, start: Variant) -> Variant:
    """`start` with other widths and depths, so that the network meets the scale's budget within 2 %.

    Widths double from stage to stage, but the last may be up to two steps off. A step is 32 channels for mixers with an
    option that is a function of the width (heads, groups), so that a head keeps its 32 channels, and else 8; smaller
    ones are tried when that fails. The depth of stage 3 is free, that of stage 1 may be less. Of the shapes that meet
    the budget, the one nearest to `start` is taken.

    Raises: ValueError when there is none, or when the mixer refuses every width.
    """
    target = scale_budget(scale, budget)
    costs = _Costs(mixers, start)
    headed = any(callable(rule) for mixer in mixers for rule in MIXERS[mixer].per_stage.values())
    nearest = inf
    for step, aim in product((32, 8, 2) if headed else (8, 2), (AIM, PROMISE)):
        for dims, depths in sorted(_shapes(start, step), key=lambda shape: _distance(start, *shape)):
            cost = costs.of(dims, depths)
            if cost is not None:
                ratio = getattr(cost, budget) / target - 1
                nearest = min(nearest, ratio, key=abs)
                if abs(ratio) <= aim:
                    return replace(start, dims=dims, depths=depths)
    if costs.refusal is not None and nearest == inf:
        raise costs.refusal
    raise ValueError(
        f"budget: no width and depth of the network around {', '.join(dict.fromkeys(mixers))} comes within "
        f"{PROMISE:.0%} of scale {scale}'s {target:,.0f} {budget}; the nearest is {nearest:+.1%} off"
    )


def _shapes(start: Variant, step: int) -> Iterator[tuple[PerStage, PerStage]]:
    """Dims and depths to try: a quarter to twice the width, and from one block in stage 3 to twice as many."""
    widths = [width for width in range(step, 2 * start.dims[0] + 1, step) if 4 * width >= start.dims[0]]
    firsts, thirds = range(1, start.depths[0] + 1), range(1, 2 * start.depths[2] + 1)
    for width, last, first, third in product(widths, range(-2, 3), firsts, thirds):
        if 8 * width + last * step > 4 * width:
            dims = (width, 2 * width, 4 * width, 8 * width + last * step)
            yield dims, (first, start.depths[1], third, start.depths[3])


def _distance(start: Variant, dims: PerStage, depths: PerStage) -> float:
    """Sum of the ratios, as absolute logarithms, by which the shape departs from `start` and from doubling widths."""
    widths = (dims[0] / start.dims[0], dims[3] / (8 * dims[0]))
    deeper = (new / old for new, old in zip(depths, start.depths, strict=True))
    return sum(abs(log(ratio)) for ratio in (*widths, *deeper))


class _Costs:
    """Costs of networks that differ from `variant` in dims and depths only; equal blocks are built once."""

    def __init__(self, mixers: Sequence[str], variant: Variant) -> None:
        self.mixers = mixers
        self.variant = variant
        # (stage, dim) -> cost of the stage's first 0, 1, 2, ... blocks, or None where the mixer refuses the width.
        self.blocks: dict[tuple[int, int], list[Cost] | None] = {}
        self.refusal: ValueError | None = None

    def of(self, dims: PerStage, depths: PerStage) -> Cost | None:
        """Cost of the network, or None where a mixer refuses a width; `refusal` is then its last reason."""
        parts = [_cost_around_blocks(dims)]
        for stage, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
            if (stage, dim) not in self.blocks:
                try:
                    self.blocks[stage, dim] = self._first_blocks(stage, dim)
                except ValueError as refusal:
                    self.blocks[stage, dim], self.refusal = None, refusal
            first_blocks = self.blocks[stage, dim]
            if first_blocks is None:
                return None
            parts.append(first_blocks[depth])
        return sum(parts, Cost())

    def _first_blocks(self, stage: int, dim: int) -> list[Cost]:
        given = self.variant.mixer_options
        depth = 2 * self.variant.depths[stage]
        counted: dict[tuple[tuple[str, Any], ...], Cost] = {}
        costs = [Cost()]
        for options in options_of_blocks(self.mixers[stage], dim=dim, stage=stage, depth=depth, given=given):
            key = tuple(sorted(options.items()))
            if key not in counted:
                counted[key] = self._block(stage, dim, options)
            costs.append(counted[key])
        if self.variant.position_embedding:
            with torch.device("meta"):
                costs[1] += Cost(params=_params(PositionEmbedding(dim, RESOLUTIONS[stage])))
        return list(accumulate(costs))

    def _block(self, stage: int, dim: int, options: Mapping[str, Any]) -> Cost:
        resolution = RESOLUTIONS[stage]
        with torch.device("meta"):
            mixer = build_mixer(self.mixers[stage], dim, resolution, **options)
            block = Block(
                dim,
                mixer,
                mlp_ratio=self.variant.mlp_ratio[stage],
                norm_eps=self.variant.norm_eps,
                layer_scale_init=1.0,
                drop_path=0.0,
            )
        return Cost(_params(block), mixer.macs(resolution) + _layer_macs(block.mlp, resolution))


@cache
def _cost_around_blocks(dims: PerStage) -> Cost:
    """Stem, downsampling, stage norms, conv head and classifier."""
    with torch.device("meta"):
        stem = Stem(IN_CHANS, dims[0])
        conv_head = ConvHead(dims[-1])
        parts: list[tuple[nn.Module, tuple[int, int]]] = [
            (nn.ModuleList([stem.conv1, stem.norm1]), (RESOLUTION[0] // 2, RESOLUTION[1] // 2)),
            (nn.ModuleList([stem.conv2, stem.norm2]), RESOLUTIONS[0]),
            (conv_head, RESOLUTIONS[-1]),
            (nn.Linear(conv_head.conv.out_channels, NUM_CLASSES), (1, 1)),
        ]
        parts += [(nn.LayerNorm(dim), resolution) for dim, resolution in zip(dims, RESOLUTIONS, strict=True)]
        parts += [
            (Downsample(*pair), resolution) for pair, resolution in zip(pairwise(dims), RESOLUTIONS[1:], strict=True)
        ]
    return sum((Cost(_params(part), _layer_macs(part, resolution)) for part, resolution in parts), Cost())


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _layer_macs(module: nn.Module, resolution: tuple[int, int]) -> int:
    """Of convolutions and linear layers with outputs of `resolution`: each weight is used once per output pixel."""
    weights = sum(parameter.numel() for parameter in module.parameters() if parameter.ndim > 1)
    return weights * resolution[0] * resolution[1]
