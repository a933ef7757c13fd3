"""Official checkpoints of the unified networks (OpenGVLab/STM-Evaluation), classification and detection backbones.

Tables of another window or image size are resized by the modules that have them, as the authors' override of
`load_state_dict` does.
"""

import torch
from torch import Tensor

from .conversion import FAMILIES, Adapt, Family, Rule, of_any_size, unchanged, without_ones

BLOCK = r"stages\.(\d+)\.blocks\.(\d+)\."
THEIRS = r"stages.\1.\2."
PARAMETER = r"(weight|bias)"


def channels_last(official: Tensor, shape: torch.Size) -> Tensor:
    """(1, C, H, W) to (H, W, C), of any H and W."""
    if official.ndim != 4 or official.shape[:2] != (1, shape[2]):
        raise ValueError(f"has shape {tuple(official.shape)}, the network needs (1, {shape[2]}, H, W)")
    return official[0].permute(1, 2, 0).contiguous()


def layer_scales(
    first: str, second: str, first_shape: Adapt = unchanged, second_shape: Adapt = unchanged
) -> list[Rule]:
    return [
        Rule(BLOCK + r"layer_scale1\.gamma", THEIRS + first, first_shape),
        Rule(BLOCK + r"layer_scale2\.gamma", THEIRS + second, second_shape),
    ]


def same_in_block(*names: str) -> list[Rule]:
    """Weight and bias of parts of the block that have the authors' names."""
    return [Rule(rf"{BLOCK}({name})\.{PARAMETER}", rf"{THEIRS}\3.\4") for name in names]


def mixer_layers(*names: str) -> list[Rule]:
    """Weight and bias of parts of the mixer that have the authors' names."""
    return [Rule(rf"{BLOCK}mixer\.({name})\.{PARAMETER}", rf"{THEIRS}attn.\3.\4") for name in names]


AROUND_BLOCKS = [
    Rule(rf"stem\.conv1\.{PARAMETER}", r"downsample_layers.0.stem.0.\1"),
    Rule(rf"stem\.norm1\.{PARAMETER}", r"downsample_layers.0.stem.1.\1"),
    Rule(rf"stem\.conv2\.{PARAMETER}", r"downsample_layers.0.stem.3.\1"),
    Rule(rf"stem\.norm2\.{PARAMETER}", r"downsample_layers.0.stem.4.\1"),
    Rule(r"stages\.(\d+)\.downsample\.conv\.weight", r"downsample_layers.\1.reduction.0.weight"),
    Rule(rf"stages\.(\d+)\.downsample\.norm\.{PARAMETER}", r"downsample_layers.\1.reduction.1.\2"),
    Rule(rf"stages\.(\d+)\.norm\.{PARAMETER}", r"stage_norms.\1.\2"),
    Rule(rf"output_norms\.(\d+)\.{PARAMETER}", r"out_norm_\1.\2"),
    Rule(r"conv_head\.conv\.weight", "conv_head.0.weight"),
    Rule(r"conv_head\.norm\.(\w+)", r"conv_head.1.\1"),
    Rule(rf"head\.{PARAMETER}", r"head.\1"),
]
NORMS_AND_MLP = same_in_block("norm1", "norm2", r"mlp\.fc1", r"mlp\.fc2")
GAMMAS = layer_scales("gamma_1", "gamma_2")

HALO = [
    *layer_scales("gamma_1", "gamma_2", without_ones(before=3), without_ones(before=3)),
    Rule(BLOCK + r"mixer\.q\.weight", THEIRS + "attn.q.weight"),
    Rule(BLOCK + r"mixer\.kv\.weight", THEIRS + "attn.kv.weight", without_ones(after=2)),
    Rule(BLOCK + r"mixer\.pos_embed\.(height_rel|width_rel)", THEIRS + r"attn.pos_embed.\3", of_any_size),
    *mixer_layers("proj"),
    *NORMS_AND_MLP,
]
PVT = [
    Rule(BLOCK + r"position\.weight", THEIRS + "pos_embed", channels_last),
    *GAMMAS,
    *mixer_layers("q", "kv", "proj", "sr", "norm"),
    *NORMS_AND_MLP,
]
SWIN = [
    *GAMMAS,
    Rule(
        BLOCK + r"mixer\.relative_position_bias_table",
        THEIRS + "attn.relative_position_bias_table",
        of_any_size,
    ),
    *mixer_layers("qkv", "proj"),
    *NORMS_AND_MLP,
]
CONVNEXT = [
    *layer_scales("gamma_1", "gamma_2", without_ones(before=1, after=2), without_ones(before=3)),
    Rule(rf"{BLOCK}norm1\.{PARAMETER}", rf"{THEIRS}dw_norm.\3"),
    Rule(rf"{BLOCK}mixer\.input_proj\.weight", rf"{THEIRS}dw_input_proj.weight", without_ones(after=2)),
    Rule(rf"{BLOCK}mixer\.input_proj\.bias", rf"{THEIRS}dw_input_proj.bias"),
    Rule(rf"{BLOCK}mixer\.dwconv\.{PARAMETER}", rf"{THEIRS}dwconv.\3"),
    Rule(rf"{BLOCK}mixer\.output_proj\.weight", rf"{THEIRS}dw_out_proj.weight", without_ones(after=2)),
    Rule(rf"{BLOCK}mixer\.output_proj\.bias", rf"{THEIRS}dw_out_proj.bias"),
    Rule(rf"{BLOCK}norm2\.{PARAMETER}", rf"{THEIRS}pw_norm.\3"),
    Rule(rf"{BLOCK}mlp\.fc1\.{PARAMETER}", rf"{THEIRS}pwconv1.\3"),
    Rule(rf"{BLOCK}mlp\.fc2\.{PARAMETER}", rf"{THEIRS}pwconv2.\3"),
]
DCN_V3 = [
    *layer_scales("gamma1", "gamma2"),
    Rule(rf"{BLOCK}mixer\.dw_conv\.{PARAMETER}", rf"{THEIRS}attn.dw_conv.0.\3"),
    Rule(rf"{BLOCK}mixer\.norm\.{PARAMETER}", rf"{THEIRS}attn.dw_conv.1.norm.\3"),
    *mixer_layers("sampling_offsets", "attention_weights", "value_proj", "output_proj"),
    *NORMS_AND_MLP,
]

RECOMPUTED = ("relative_position_index", "attn_mask")

FAMILIES |= {
    f"unified_{network}_": Family([*AROUND_BLOCKS, *rules], RECOMPUTED)
    for network, rules in {"halo": HALO, "pvt": PVT, "swin": SWIN, "convnext": CONVNEXT, "dcn_v3": DCN_V3}.items()
}
