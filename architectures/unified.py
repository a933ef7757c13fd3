"""The unified backbone: one network around any spatial token mixer.

Source: Dai et al., "Demystify Transformers & Convolutions in Modern Image Deep Networks", arXiv:2211.05781, section 3
and appendix; official code OpenGVLab/STM-Evaluation.
Differences: maps stay B, H, W, C from stem to head; every mixer takes any image size; layer scales are stored as (C,)
and convert from the authors' shapes; the detection backbone is this one with `detection=True`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from timm.layers import to_2tuple
from torch import Tensor, nn

from mixers import MIXERS, Mixer, build_mixer
from mixers.contract import require

from .backbone import Backbone
from .block import Block, PositionEmbedding
from .budget import budget_rule, variant_for
from .initialization import truncated_normal
from .mixer_options import STAGES, check_option_names, options_of_block
from .registry import Entry, pretrained_cfg, register_networks
from .stages import (
    ISOTROPIC_REDUCTIONS,
    NORM_EPS,
    REDUCTIONS,
    ConvHead,
    Downsample,
    Stage,
    Stem,
    Widen,
    stage_resolutions,
)
from .variants import DETECTION, NETWORK_NAMES, SHAPES, STARTING_POINTS, VARIANTS, PerStage


class UnifiedBackbone(Backbone):
    """Stem, four stages of blocks around any mixer, conv head, classifier. Image `B, C, H, W` -> `B, num_classes`.

    Args:
        mixers: names of the mixers of the four stages.
        dims, depths: channels and number of blocks of the four stages.
        mixer_options: given option -> one value, or four, one a stage; wins over `published_options`, those of the
            published variant, and these over the mixer's defaults: see `mixer_options.options_of_block`.
        budget: the rule that `dims` and `depths` are by, see `budget.BUDGETS`; only kept to be told.
        mlp_ratio: hidden width of the MLPs of each stage over its width.
        norm_eps: of the two norms in a block; all other norms have 1e-6.
        position_embedding: whether the first block of each stage adds one to its input.
        position_in_residual: whether the residual branch sees it too.
        output_norms: False norms the map at the end of every stage; True gives each map that leaves the network a norm
            of its own instead, and leaves out the conv head.
        layer_scale_init: first value of the layer scales; 0 or less builds none.
        downsample: whether each stage after the first halves the map; False keeps the stem's, pixel by pixel.
        drop_path_rate: of the last block; grows linearly from 0 over all blocks.
        img_size: height and width in pixels that tables are made for; `forward` takes any from 32 x 32.

    Raises: ValueError for unknown or impossible mixers and options.
    """

    def __init__(
        self,
        *,
        mixers: tuple[str, str, str, str],
        dims: PerStage,
        depths: PerStage,
        mixer_options: Mapping[str, Any],
        published_options: Mapping[str, Any],
        budget: str,
        mlp_ratio: PerStage,
        norm_eps: float,
        position_embedding: bool,
        position_in_residual: bool = True,
        output_norms: bool = False,
        layer_scale_init: float = 1e-6,
        downsample: bool = True,
        drop_path_rate: float = 0.0,
        num_classes: int = 1000,
        in_chans: int = 3,
        img_size: tuple[int, int] = (224, 224),
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        check_option_names(mixers, mixer_options)
        drop_paths = _linear(drop_path_rate, sum(depths))
        reductions = REDUCTIONS if downsample else ISOTROPIC_REDUCTIONS
        stages = []
        for stage, (mixer, dim, depth, resolution) in enumerate(
            zip(mixers, dims, depths, stage_resolutions(img_size, reductions), strict=True)
        ):
            options = [
                options_of_block(
                    mixer, dim=dim, stage=stage, block=index, given=mixer_options, published=published_options
                )
                for index in range(depth)
            ]
            blocks = [
                Block(
                    dim,
                    build_mixer(mixer, dim, resolution, **options[index]),
                    mlp_ratio=mlp_ratio[stage],
                    norm_eps=norm_eps,
                    layer_scale_init=layer_scale_init,
                    drop_path=drop_paths.pop(0),
                    position=PositionEmbedding(dim, resolution) if position_embedding and index == 0 else None,
                    position_in_residual=position_in_residual,
                )
                for index in range(depth)
            ]
            stages.append(
                Stage(
                    _between_stages(dims[stage - 1], dim, downsample) if stage else nn.Identity(),
                    blocks,
                    nn.Identity() if output_norms else nn.LayerNorm(dim, eps=NORM_EPS),
                )
            )
        conv_head = None if output_norms else ConvHead(dims[-1])
        super().__init__(
            stem=Stem(in_chans, dims[0]),
            stages=stages,
            channels=dims,
            reductions=reductions,
            conv_head=conv_head,
            head_hidden_size=conv_head.conv.out_channels if conv_head else None,
            num_classes=num_classes,
            in_chans=in_chans,
            global_pool=global_pool,
            drop_rate=drop_rate,
        )
        self.output_norms = nn.ModuleList(
            nn.LayerNorm(dim, eps=NORM_EPS) if output_norms else nn.Identity() for dim in dims
        )
        self.budget, self.dims, self.depths = budget, tuple(dims), tuple(depths)
        _initialize(self)

    def feature_map(self, state: Tensor, index: int) -> Tensor:
        return self.output_norms[index](state)

    def final_state(self, state: Tensor) -> Tensor:
        return self.output_norms[len(self.stages) - 1](state)

    @torch.jit.ignore
    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        taken = super().prune_intermediate_layers(indices, prune_norm, prune_head)
        for index in set(range(STAGES)) - set(taken):
            self.output_norms[index] = nn.Identity()
        return taken


def _initialize(module: nn.Module) -> None:
    """The network's own convolutions and linear layers; what is inside of a mixer is the mixer's business."""
    if isinstance(module, Mixer):
        module.init_weights()
        return
    if isinstance(module, nn.Conv2d | nn.Linear):
        truncated_normal(module)
    for child in module.children():
        _initialize(child)


def _between_stages(in_dim: int, dim: int, downsample: bool) -> nn.Module:
    if downsample:
        return Downsample(in_dim, dim)
    return nn.Identity() if in_dim == dim else Widen(in_dim, dim)


def _linear(last: float, count: int) -> list[float]:
    """`count` values from 0 to `last`, equally spaced."""
    return [last * index / max(count - 1, 1) for index in range(count)]


def unified(
    *,
    mixer: str | tuple[str, str, str, str] | None = None,
    scale: str | None = None,
    mixer_options: Mapping[str, Any] | None = None,
    budget: str | None = None,
    dims: PerStage | None = None,
    depths: PerStage | None = None,
    layer_scale_init: float = 1e-6,
    mlp_ratio: float | PerStage | None = None,
    norm_eps: float | None = None,
    position_embedding: bool | None = None,
    downsample: bool = True,
    detection: bool = False,
    drop_path_rate: float | None = None,
    num_classes: int = 1000,
    in_chans: int = 3,
    img_size: int | tuple[int, int] = 224,
    global_pool: str = "avg",
    drop_rate: float = 0.0,
) -> UnifiedBackbone:
    """The unified network around `mixer` (one, or four, one a stage) at `scale` (nano, micro, tiny, small, base).

    `budget` is the rule by which dims and depths are found, "published", "params", "macs" or "shape": see
    `architectures.budget`, and `budget_rule` there for None. Mixer options, MLP ratios, norm eps, position embeddings
    and drop path rate are the published variant's; with "shape", and for mixers that have none, the scale's, the same
    for all, as everything is at scale nano, which has no published networks. What is given here wins; dims and depths
    that are given are used as they are.

    `detection` is the authors' detection backbone: `variants.DETECTION`, the variant's `detection_options` and its
    `detection_drop_path_rate`.

    Raises: ValueError naming the key, its value and the choices.
    """
    mixers = _four_mixers(mixer)
    given = mixer_options or {}
    check_option_names(mixers, given)
    changes: dict[str, Any] = {}
    if mlp_ratio is not None:
        changes["mlp_ratio"] = _four_ratios(mlp_ratio)
    if norm_eps is not None:
        require(norm_eps > 0, "norm_eps", norm_eps, "must be positive")
        changes["norm_eps"] = norm_eps
    if position_embedding is not None:
        changes["position_embedding"] = position_embedding
    rule = budget_rule(mixers, scale, budget, dims, depths)
    variant = variant_for(mixers, scale, rule, dims=dims, depths=depths, mixer_options=given, changes=changes)
    if drop_path_rate is None:
        drop_path_rate = variant.detection_drop_path_rate if detection else variant.drop_path_rate
    require(0 <= drop_path_rate < 1, "drop_path_rate", drop_path_rate, "must be at least 0 and less than 1")
    return UnifiedBackbone(
        mixers=mixers,
        dims=variant.dims,
        depths=variant.depths,
        mixer_options=given,
        published_options={**variant.published_options, **(variant.detection_options if detection else {})},
        budget=rule,
        mlp_ratio=variant.mlp_ratio,
        norm_eps=variant.norm_eps,
        position_embedding=variant.position_embedding,
        layer_scale_init=layer_scale_init,
        downsample=downsample,
        drop_path_rate=drop_path_rate,
        num_classes=num_classes,
        in_chans=in_chans,
        img_size=to_2tuple(img_size),
        global_pool=global_pool,
        drop_rate=drop_rate,
        **(DETECTION if detection else {}),
    )


def _four_mixers(mixer: str | Sequence[str] | None) -> tuple[str, str, str, str]:
    names = (mixer,) * STAGES if isinstance(mixer, str) else tuple(mixer or ())
    if len(names) != STAGES:
        raise ValueError(f"mixer: one name or {STAGES}, one a stage, not {mixer!r}; choices: {', '.join(MIXERS)}")
    for name in names:
        if name not in MIXERS:
            raise ValueError(f"mixer: unknown {name!r}; choices: {', '.join(MIXERS)}")
    return names


def _four_ratios(mlp_ratio: float | Sequence[float]) -> tuple[float, ...]:
    ratios = (mlp_ratio,) * STAGES if isinstance(mlp_ratio, int | float) else tuple(mlp_ratio)
    rule = f"one positive number or {STAGES}, one a stage"
    require(len(ratios) == STAGES and min(ratios) > 0, "mlp_ratio", mlp_ratio, rule)
    return ratios


PRETRAINED_CFG = {"first_conv": "stem.conv1", "origin_url": "https://github.com/OpenGVLab/STM-Evaluation"}
UNIFIED = Entry(unified, {}, pretrained_cfg(**PRETRAINED_CFG))

register_networks(
    unified,
    {
        f"unified_{NETWORK_NAMES.get(mixer, mixer)}_{scale}": {"mixer": mixer, "scale": scale}
        for mixer in MIXERS
        for scale in (*SHAPES, *VARIANTS.get(mixer, STARTING_POINTS))
    },
    **PRETRAINED_CFG,
)
