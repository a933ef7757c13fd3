"""Conformer: a bottleneck convolution branch and a transformer branch that exchange features at every level.

Source: Peng et al., "Conformer: Local Features Coupling Global Representations for Visual Recognition",
arXiv:2105.03889 (ICCV 2021), section 3 and table 1; official code pengzhiliang/Conformer. Twelve levels: the first
opens both branches, each of the others couples them (map to tokens, transformer, tokens to map, fusion). There is no
position embedding. The class token of a coupled level is added to itself, as in the official code: published weights
need it.
Differences from the official code: maps stay `B, H, W, C`; any input size works (maps round up, the patch embedding
pads, pooling averages the pixels that are there, upsampling is cropped), identical at multiples of 32. The pyramid
offers the maps after levels 4, 8, 11 and 12, as the authors' detection backbone does.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from timm.layers import calculate_drop_path_rates, trunc_normal_
from timm.models.vision_transformer import Block as TransformerBlock
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mixers.contract import require

from .backbone import Backbone, Blocks
from .channels_last import channels_first, channels_last
from .initialization import kaiming_normal, truncated_normal
from .padding import pad_to_multiple
from .registry import register_networks

STEM_DIM = 64
EPSILON = 1e-6  # of every norm but the stem's and the one before the transformer's classifier

State = tuple[Tensor, Tensor]  # feature map B, H, W, C and tokens B, 1 + N, D, class token first


class Stem(nn.Module):
    """7x7 convolution, BN, ReLU, max-pooling: image `B, in_chans, H, W` -> `B, ceil(H / 4), ceil(W / 4), 64`."""

    def __init__(self, in_chans: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, STEM_DIM, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(STEM_DIM)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x.contiguous(memory_format=torch.channels_last))
        return channels_last(self.pool(F.relu(self.norm(x))))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions, each with batch norm, and a shortcut. Maps here are `B, C, H, W`.

    Args:
        stride: of the 3x3 convolution.
        projection: whether the shortcut is a 1x1 convolution with batch norm; needed when width or size changes.
    """

    def __init__(self, dim: int, out_dim: int, *, stride: int = 1, projection: bool = False) -> None:
        super().__init__()
        hidden_dim = out_dim // 4
        self.conv1 = nn.Conv2d(dim, hidden_dim, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden_dim, eps=EPSILON)
        self.conv2 = nn.Conv2d(hidden_dim, hidden_dim, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(hidden_dim, eps=EPSILON)
        self.conv3 = nn.Conv2d(hidden_dim, out_dim, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out_dim, eps=EPSILON)
        self.shortcut = nn.Sequential()
        if projection:
            self.shortcut.append(nn.Conv2d(dim, out_dim, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(out_dim, eps=EPSILON))

    def forward(self, x: Tensor, from_tokens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Output map and the `out_dim / 4` channels before the last convolution.

        `from_tokens` (as many channels, size of x) joins before the 3x3 convolution.
        """
        hidden = F.relu(self.norm1(self.conv1(x)))
        if from_tokens is not None:
            hidden = hidden + from_tokens
        hidden = F.relu(self.norm2(self.conv2(hidden)))
        return F.relu(self.norm3(self.conv3(hidden)) + self.shortcut(x)), hidden


class MapToTokens(nn.Module):
    """Feature coupling downwards: map `B, dim, H, W` -> patch tokens `B, ceil(H / r) ceil(W / r), token_dim`."""

    def __init__(self, dim: int, token_dim: int, ratio: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, token_dim, 1)
        self.pool = nn.AvgPool2d(ratio, ceil_mode=True)
        self.norm = nn.LayerNorm(token_dim, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        tokens = channels_last(self.pool(self.conv(x))).flatten(1, 2)
        return F.gelu(self.norm(tokens))


class TokensToMap(nn.Module):
    """Feature coupling upwards: patch tokens `B, ceil(H / r) ceil(W / r), token_dim` -> map `B, dim, H, W`."""

    def __init__(self, token_dim: int, dim: int, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.conv = nn.Conv2d(token_dim, dim, 1)
        self.norm = nn.BatchNorm2d(dim, eps=EPSILON)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        x = tokens.unflatten(1, (-(-height // self.ratio), -(-width // self.ratio)))
        x = F.relu(self.norm(self.conv(channels_first(x))))
        return F.interpolate(x, scale_factor=self.ratio, mode="nearest")[..., :height, :width]


class OpeningLevel(nn.Module):
    """Level 1, both branches from the stem's map: `B, H, W, 64` -> state.

    Args:
        token_stride: side of a patch on the stem's map.
        token_block: the first transformer block.
    """

    def __init__(self, dim: int, token_dim: int, token_stride: int, token_block: nn.Module) -> None:
        super().__init__()
        self.conv_block = Bottleneck(STEM_DIM, dim, projection=True)
        self.patch_embed = nn.Conv2d(STEM_DIM, token_dim, token_stride, token_stride)
        self.token_stride = token_stride
        self.cls_token = nn.Parameter(torch.zeros(1, 1, token_dim))
        self.token_block = token_block

    def forward(self, x: Tensor) -> State:
        feature_map, _ = self.conv_block(channels_first(x))
        patches = channels_last(self.patch_embed(channels_first(pad_to_multiple(x, self.token_stride)))).flatten(1, 2)
        tokens = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), patches], dim=1)
        return channels_last(feature_map), self.token_block(tokens)


class CoupledLevel(nn.Module):
    """Levels 2 to 12: convolution, map to tokens, transformer, tokens to map, fusing convolution. State -> state.

    Args:
        stride: of the level's first convolution block.
        fusion_stride: of its second one.
        ratio: pixels of the map per token, in each direction.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        token_dim: int,
        token_block: nn.Module,
        *,
        ratio: int,
        stride: int = 1,
        fusion_stride: int = 1,
    ) -> None:
        super().__init__()
        self.conv_block = Bottleneck(dim, out_dim, stride=stride, projection=stride > 1)
        self.to_tokens = MapToTokens(out_dim // 4, token_dim, ratio)
        self.token_block = token_block
        self.to_map = TokensToMap(token_dim, out_dim // 4, ratio)
        self.fusion_block = Bottleneck(out_dim, out_dim, stride=fusion_stride, projection=fusion_stride > 1)

    def forward(self, state: State) -> State:
        feature_map, tokens = state
        x, hidden = self.conv_block(channels_first(feature_map))
        # The class token is in both terms: it enters the block doubled.
        tokens = self.token_block(torch.cat([tokens[:, :1], self.to_tokens(hidden)], dim=1) + tokens)
        x, _ = self.fusion_block(x, self.to_map(tokens[:, 1:], *x.shape[2:]))
        return channels_last(x), tokens


class Conformer(Backbone):
    """Image `B, in_chans, H, W` of any size -> sum of the two branches' logits `B, num_classes`.

    In training mode the pair (convolution, transformer) of logits instead, whose losses are to be averaged. Without
    classes: the pooled map and the class token in one vector `B, head_hidden_size`.

    Args:
        channel_ratio: width of the convolution branch in units of 64 channels; it doubles after levels 4 and 8.
        token_dim, num_heads: of the transformer branch.
        patch_size: image pixels per token, in each direction.
        detection: the authors' detection backbone, which has no norm after the last tokens.
        frozen: whether, in training too, the stem does not learn and batch norms (whose weights do learn) use their
            running statistics; None: in the detection backbone only, as its authors train it. Of use with weights that
            were trained before.
        global_pool: "avg"; "" only without classes, and then `forward` returns the state.
        drop_path_rate: of the transformer branch at level 12; rates grow linearly from 0. None: the usual one, or 0 in
            the detection backbone.
        usual_drop_path_rate: that of classification.

    Raises: ValueError naming the impossible option.
    """

    undecayed = ("cls_token",)

    def __init__(
        self,
        *,
        channel_ratio: int,
        token_dim: int,
        num_heads: int,
        patch_size: int,
        detection: bool = False,
        frozen: bool | None = None,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float | None = None,
        usual_drop_path_rate: float = 0.0,
    ) -> None:
        if drop_path_rate is None:
            drop_path_rate = 0.0 if detection else usual_drop_path_rate
        require(channel_ratio >= 1, "channel_ratio", channel_ratio, "must be at least 1")
        divides = num_heads >= 1 and token_dim % num_heads == 0
        require(divides, "num_heads", num_heads, f"must divide token_dim={token_dim}")
        divides = patch_size >= 16 and patch_size % 16 == 0
        require(divides, "patch_size", patch_size, "must be a multiple of 16, the stride of the maps of levels 9 to 11")
        require(0 <= drop_path_rate < 1, "drop_path_rate", drop_path_rate, "must be at least 0 and less than 1")
        token_blocks = [
            TransformerBlock(
                token_dim, num_heads, qkv_bias=True, drop_path=rate, norm_layer=partial(nn.LayerNorm, eps=EPSILON)
            )
            for rate in calculate_drop_path_rates(drop_path_rate, 12)
        ]
        widths = [STEM_DIM * channel_ratio * 2**step for step in range(3)]
        levels: list[nn.Module] = [OpeningLevel(widths[0], token_dim, patch_size // 4, token_blocks[0])]
        for index in range(1, 12):
            step = index // 4  # levels 1-4, 5-8 and 9-12 share width and size
            opens = index % 4 == 0
            levels.append(
                CoupledLevel(
                    widths[step - 1] if opens else widths[step],
                    widths[step],
                    token_dim,
                    token_blocks[index],
                    ratio=patch_size // 4 // 2**step,
                    stride=2 if opens else 1,
                    fusion_stride=2 if index == 11 else 1,
                )
            )
        stages: Sequence[Sequence[nn.Module]] = (levels[:4], levels[4:8], levels[8:11], levels[11:])
        super().__init__(
            stem=Stem(in_chans),
            stages=[nn.Sequential(OrderedDict(blocks=Blocks(*stage))) for stage in stages],
            channels=(*widths, widths[-1]),
            reductions=(4, 8, 16, 32),
            head_hidden_size=widths[-1] + token_dim,
            num_classes=num_classes,
            in_chans=in_chans,
            global_pool=global_pool,
            drop_rate=drop_rate,
        )
        self.token_norm = nn.Identity() if detection else nn.LayerNorm(token_dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                kaiming_normal(module)
            elif isinstance(module, nn.Linear):
                truncated_normal(module)
            elif isinstance(module, OpeningLevel):
                trunc_normal_(module.cls_token, std=0.02)
        self.frozen = detection if frozen is None else frozen
        if self.frozen:
            self.stem.requires_grad_(False)
            self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As of any module, but frozen batch norms stay as in evaluation."""
        super().train(mode)
        if self.frozen:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def feature_map(self, state: State, index: int) -> Tensor:
        return state[0]

    def final_state(self, state: State) -> State:
        feature_map, tokens = state
        return feature_map, self.token_norm(tokens)

    def forward_head(self, x: State, pre_logits: bool = False) -> Any:
        pooled, class_token = self._pool(x)
        if pre_logits or self.num_classes == 0:
            return x if self.global_pool == "" else torch.cat([pooled, class_token], dim=1)
        pair = self.map_classifier(pooled), self.token_classifier(class_token)
        return pair if self.training else pair[0] + pair[1]

    def forward_pair(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Image `B, C, H, W` -> logits `B, num_classes` of the convolution branch and of the transformer branch."""
        pooled, class_token = self._pool(self.forward_features(x))
        return self.map_classifier(pooled), self.token_classifier(class_token)

    def _pool(self, state: State) -> tuple[Tensor, Tensor]:
        feature_map, tokens = state
        return self.head_drop(feature_map.mean(dim=(1, 2))), self.head_drop(tokens[:, 0])

    @torch.jit.ignore
    def get_classifier(self) -> tuple[nn.Module, nn.Module]:
        return self.map_classifier, self.token_classifier

    @torch.jit.ignore
    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Two new classifiers, or none when `num_classes` is 0; `global_pool` None keeps the pooling.

        Raises: ValueError for an unknown `global_pool`, or classes without pooling.
        """
        global_pool = self.global_pool if global_pool is None else global_pool
        if global_pool not in ("avg", ""):
            raise ValueError(f"global_pool must be 'avg' or '', not {global_pool!r}")
        if global_pool == "" and num_classes:
            raise ValueError(
                "global_pool='' needs num_classes=0: a Conformer classifies the pooled map and a class token"
            )
        self.global_pool, self.num_classes = global_pool, num_classes
        map_dim = self.num_features
        self.map_classifier = self.make_classifier(map_dim, num_classes)
        self.token_classifier = self.make_classifier(self.head_hidden_size - map_dim, num_classes)

    @torch.jit.ignore
    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        taken = super().prune_intermediate_layers(indices, prune_norm, prune_head)
        if prune_norm or len(self.stages) < 4:
            self.token_norm = nn.Identity()
        return taken


SMALL = {"channel_ratio": 4, "token_dim": 384, "num_heads": 6, "usual_drop_path_rate": 0.1}
register_networks(
    Conformer,
    {
        "conformer_tiny_patch16": SMALL | {"channel_ratio": 1, "patch_size": 16},
        "conformer_small_patch16": SMALL | {"patch_size": 16},
        "conformer_small_patch32": SMALL | {"patch_size": 32},
        "conformer_base_patch16": SMALL | {"channel_ratio": 6, "token_dim": 576, "num_heads": 9, "patch_size": 16},
    },
    first_conv="stem.conv",
    classifier=("map_classifier", "token_classifier"),
    origin_url="https://github.com/pengzhiliang/Conformer",
)
