"""How wide and deep the unified network around a mixer is: by which rule, and what that rule gives.

    published   the authors' row for the mixer at the scale
    params      dims and depths are solved so that the network has the scale's number of parameters
    macs        the same for its multiply-accumulates
    shape       dims and depths that do not depend on the mixer: those that are given, or the scale's

A scale's budget is the median of its published variants, in parameters or in multiply-accumulates, at 224 x 224 pixels
and 1000 classes. Parameters are counted on the network's own parts, built on the meta device; multiply-accumulates by
the mixers' `macs` and by those of the convolutions and linear layers around them, and nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise, product
from math import inf, log
from statistics import median
from typing import Any

import torch
from torch import nn

from mixers import build_mixer
from mixers.contract import require

from .block import Block, PositionEmbedding
from .mixer_options import STAGES, follows_width, options_of_block
from .stages import ConvHead, Downsample, Stem, stage_resolutions
from .variants import SHAPES, STARTING_POINTS, VARIANTS, PerStage, Variant

BUDGETS = ("published", "params", "macs", "shape")
# The aim is half of what is promised, so that another rule of counting still finds the promise kept.
AIM, PROMISE = 0.01, 0.02
HEAD_WIDTH = 32
RESOLUTION = (224, 224)
RESOLUTIONS = stage_resolutions(RESOLUTION)
IN_CHANS = 3
NUM_CLASSES = 1000


def published_variants(mixers: Sequence[str]) -> Mapping[str, Variant]:
    """Scale -> published row of the network with these four mixers; empty where they differ or nothing is published."""
    return VARIANTS.get(mixers[0], {}) if len(set(mixers)) == 1 else {}


def budget_rule(
    mixers: Sequence[str],
    scale: str,
    budget: str | None = None,
    dims: PerStage | None = None,
    depths: PerStage | None = None,
) -> str:
    """The rule in BUDGETS that decides dims and depths.

    Where none is asked for: `shape` if dims or depths are given or the scale has no published networks, `published`
    where there is a row, else `params`.

    Raises: ValueError naming the key, its value and the choices.
    """
    published = published_variants(mixers)
    scales = dict.fromkeys([*SHAPES, *STARTING_POINTS, *published])
    if scale not in scales:
        raise ValueError(f"scale: unknown {scale!r}; choices: {', '.join(scales)}")
    if budget is not None and budget not in BUDGETS:
        raise ValueError(f"budget: unknown {budget!r}; choices: {', '.join(BUDGETS)}")
    for key, values, least in (("dims", dims, (2, 1, 1, 1)), ("depths", depths, (1, 1, 1, 1))):
        if values is not None:
            whole = len(values) == STAGES and all(type(value) is int for value in values)
            rule = f"must be {STAGES} whole numbers, one a stage, of at least {', '.join(map(str, least))}"
            require(whole and all(value >= one for value, one in zip(values, least, strict=True)), key, values, rule)
    given = dims is not None or depths is not None
    if scale in SHAPES:
        require(budget in (None, "shape"), "budget", budget, f"scale {scale} has no published networks: choose shape")
        return "shape"
    if budget is None:
        return "shape" if given else "published" if scale in published else "params"
    if budget == "published" and given:
        raise ValueError("budget=published: the row has its own dims and depths, so give these with budget=shape")
    if budget == "published" and scale not in published:
        names = ", ".join(dict.fromkeys(mixers))
        raise ValueError(f"budget=published: there is no row of {names} at scale {scale}; choose params, macs or shape")
    if budget == "shape" and scale not in STARTING_POINTS:
        raise ValueError(f"budget=shape: scale {scale!r} has none; choose from the scales {', '.join(STARTING_POINTS)}")
    return budget


def variant_for(
    mixers: Sequence[str],
    scale: str,
    rule: str,
    *,
    dims: PerStage | None = None,
    depths: PerStage | None = None,
    mixer_options: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Variant:
    """What is around the mixers, by a rule of `budget_rule`.

    Args:
        dims, depths: used as they are where they are given.
        mixer_options: given by the user; they decide what a block costs.
        changes: of the variant's other fields, given by the user.

    Raises: ValueError where a budget cannot be met within 2 %, or a mixer refuses every width.
    """
    published = published_variants(mixers)
    if rule == "shape" or scale not in published:
        start = replace((SHAPES | STARTING_POINTS)[scale], detection_options=_detection_options(mixers, scale))
    else:
        start = published[scale]
    start = replace(start, **(changes or {}))
    if rule == "published":
        return start
    if rule == "shape":
        return replace(start, dims=dims or start.dims, depths=depths or start.depths)
    return _matched(mixers, scale, rule, start, dims, depths, mixer_options or {})


def network_cost(
    mixers: Sequence[str], variant: Variant, budget: str, mixer_options: Mapping[str, Any] | None = None
) -> int:
    """What `budget` names, "params" or "macs", of the unified network with these four mixers.

    Raises: ValueError when a mixer refuses its width or its options.
    """
    costs = _Costs(mixers, variant, budget, mixer_options or {})
    cost = costs.of(variant.dims, variant.depths)
    if cost is None:
        raise costs.refusal
    return cost


@cache
def scale_budget(scale: str, budget: str) -> float:
    """Median over the published variants of `scale` of what `budget` names, "params" or "macs"."""
    published = [(mixer, variants[scale]) for mixer, variants in VARIANTS.items() if scale in variants]
    return median(network_cost((mixer,) * STAGES, variant, budget) for mixer, variant in published)


def _detection_options(mixers: Sequence[str], scale: str) -> dict[str, Any]:
    rows = [VARIANTS[mixer][scale] for mixer in mixers if scale in VARIANTS.get(mixer, {})]
    return {option: value for row in rows for option, value in row.detection_options.items()}


def _matched(
    mixers: Sequence[str],
    scale: str,
    budget: str,
    start: Variant,
    dims: PerStage | None,
    depths: PerStage | None,
    mixer_options: Mapping[str, Any],
) -> Variant:
    """`start` with other widths and depths, so that the network meets the scale's budget within 2 %.

    A published row that meets it stays as it is. Else the widths keep the proportions of `start`, but the last may be
    up to two steps off. A step is the width of a head for mixers that have heads or groups, so that a head keeps it,
    and else 8; smaller ones are tried when that fails. The depth of stage 3 is free, that of stage 1 may be less. Of
    the shapes that meet the budget, the one nearest to `start` is taken.
    """
    target = scale_budget(scale, budget)
    costs = _Costs(mixers, start, budget, mixer_options)
    nearest = inf
    if scale in published_variants(mixers) and dims is None and depths is None:
        row_cost = costs.of(start.dims, start.depths)
        if row_cost is not None and abs(row_cost / target - 1) <= PROMISE:
            return start
    most = 8 if dims else 2  # With one way left to meet the budget, go further.
    for step, aim in product(_steps(mixers, start), (AIM, PROMISE)):
        shapes = product([dims] if dims else _dims(start, step), [depths] if depths else _depths(start, most))
        for shape in sorted(shapes, key=lambda shape: _distance(start, *shape)):
            cost = costs.of(*shape)
            if cost is not None:
                ratio = cost / target - 1
                nearest = min(nearest, ratio, key=abs)
                if abs(ratio) <= aim:
                    return replace(start, dims=shape[0], depths=shape[1])
    if costs.refusal is not None and nearest == inf:
        raise costs.refusal
    raise ValueError(
        f"budget: no width and depth of the network around {', '.join(dict.fromkeys(mixers))} comes within "
        f"{PROMISE:.0%} of scale {scale}'s {target:,.0f} {budget}; the nearest is {nearest:+.1%} off"
    )


def _steps(mixers: Sequence[str], start: Variant) -> Sequence[int]:
    """By how many channels widths differ, the widest first."""
    heads = [*start.head_width.values(), *(HEAD_WIDTH for mixer in mixers if follows_width(mixer))]
    return (heads[0], 8, 2) if heads else (8, 2)


def _dims(start: Variant, step: int) -> Iterator[PerStage]:
    """A quarter to twice the width, in the proportions of `start`; the last width up to two steps off."""
    proportions = [dim // start.dims[0] for dim in start.dims]
    widths = [width for width in range(step, 2 * start.dims[0] + 1, step) if 4 * width >= start.dims[0]]
    for width, last in product(widths, range(-2, 3)):
        first, second, third, fourth = (width * proportion for proportion in proportions)
        if fourth + last * step > third:
            yield first, second, third, fourth + last * step


def _depths(start: Variant, most: int) -> Iterator[PerStage]:
    """One block in stage 1 to as many as `start` has, and one in stage 3 to `most` times as many."""
    for first, third in product(range(1, start.depths[0] + 1), range(1, most * start.depths[2] + 1)):
        yield first, start.depths[1], third, start.depths[3]


def _distance(start: Variant, dims: PerStage, depths: PerStage) -> float:
    """Sum of the ratios, as absolute logarithms, by which the shape departs from `start` and from its proportions."""
    widths = (dims[0] / start.dims[0], dims[3] / (start.dims[3] // start.dims[0] * dims[0]))
    deeper = (new / old for new, old in zip(depths, start.depths, strict=True))
    return sum(abs(log(ratio)) for ratio in (*widths, *deeper))


class _Costs:
    """Costs of networks that differ from `variant` in dims and depths only; equal blocks are built once."""

    def __init__(self, mixers: Sequence[str], variant: Variant, budget: str, mixer_options: Mapping[str, Any]) -> None:
        self.mixers = mixers
        self.variant = variant
        self.budget = budget
        self.given = mixer_options
        # (stage, dim) -> costs of the stage's blocks as far as they were asked for, None where the mixer refuses.
        self.blocks: dict[tuple[int, int], list[int] | None] = {}
        self.counted: dict[tuple[Any, ...], int] = {}
        self.refusal: ValueError | None = None

    def of(self, dims: PerStage, depths: PerStage) -> int | None:
        """Cost of the network, or None where a mixer refuses a width; `refusal` is then its last reason."""
        cost = _cost_around_blocks(dims, self.budget)
        for stage, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
            blocks = self.blocks.setdefault((stage, dim), [])
            if blocks is None:
                return None
            try:
                while len(blocks) < depth:
                    blocks.append(self._block(stage, dim, len(blocks)))
            except ValueError as refusal:
                self.blocks[stage, dim], self.refusal = None, refusal
                return None
            cost += sum(blocks[:depth])
        return cost

    def _block(self, stage: int, dim: int, block: int) -> int:
        published = replace(self.variant, dims=(dim,) * STAGES).published_options
        options = options_of_block(
            self.mixers[stage], dim=dim, stage=stage, block=block, given=self.given, published=published
        )
        has_position = self.variant.position_embedding and block == 0
        key = (stage, dim, has_position, *sorted(options.items()))
        if key not in self.counted:
            self.counted[key] = self._count(stage, dim, options, has_position)
        return self.counted[key]

    def _count(self, stage: int, dim: int, options: Mapping[str, Any], has_position: bool) -> int:
        resolution = RESOLUTIONS[stage]
        with torch.device("meta"):
            block = Block(
                dim,
                build_mixer(self.mixers[stage], dim, resolution, **options),
                mlp_ratio=self.variant.mlp_ratio[stage],
                norm_eps=self.variant.norm_eps,
                layer_scale_init=1.0,
                drop_path=0.0,
                position=PositionEmbedding(dim, resolution) if has_position else None,
            )
        if self.budget == "params":
            return _params(block)
        return block.mixer.macs(resolution) + _layer_macs(block.mlp, resolution)


@cache
def _cost_around_blocks(dims: PerStage, budget: str) -> int:
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
    return sum(_params(part) if budget == "params" else _layer_macs(part, resolution) for part, resolution in parts)


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _layer_macs(module: nn.Module, resolution: tuple[int, int]) -> int:
    """Of convolutions and linear layers with outputs of `resolution`: each weight is used once per output pixel."""
    weights = sum(parameter.numel() for parameter in module.parameters() if parameter.ndim > 1)
    return weights * resolution[0] * resolution[1]
