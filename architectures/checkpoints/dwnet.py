"""Official checkpoints of DWNet (Atten4Vis/DemystifyLocalViT): the three families, and their detection backbones.

The static families' loader is not strict, and the authors' latest code builds a static network from a dynamic one's
settings; here a dynamic checkpoint fits a dynamic network only.
"""

from .conversion import FAMILIES, Family, Rule, without_ones

BLOCK = r"stages\.(\d+)\.blocks\.(\d+)\."
THEIRS = r"layers.\1.blocks.\2."
MIXER = BLOCK + r"mixing\.mixer\."
THEIR_MIXER = THEIRS + "attn2conv.conv."

AROUND_MIXERS = [
    Rule(r"stem\.(proj|norm)\.(\w+)", r"patch_embed.\1.\2"),
    # Merging ends the authors' stage and begins ours.
    *(
        Rule(rf"stages\.{stage}\.downsample\.(norm|reduction)\.(\w+)", rf"layers.{stage - 1}.downsample.\1.\2")
        for stage in (1, 2, 3)
    ),
    Rule(BLOCK + r"mixing\.pointwise1\.weight", THEIRS + "attn2conv.conv0.weight"),
    Rule(BLOCK + r"mixing\.norm1\.(\w+)", THEIRS + r"attn2conv.bn0.\3"),
    Rule(BLOCK + r"mixing\.norm2\.(\w+)", THEIRS + r"attn2conv.bn.\3"),
    Rule(BLOCK + r"mixing\.pointwise2\.weight", THEIRS + "attn2conv.conv2.weight"),
    Rule(BLOCK + r"mixing\.norm3\.(\w+)", THEIRS + r"attn2conv.bn2.\3"),
    Rule(BLOCK + r"norm\.(\w+)", THEIRS + r"bn.\3"),
    Rule(BLOCK + r"mlp\.(fc1|fc2)\.(\w+)", THEIRS + r"mlp.\3.\4"),
    Rule(r"output_norms\.(\d+)\.(\w+)", r"norm\1.\2"),
    Rule(r"(norm|head)\.(\w+)", r"\1.\2"),
]
STATIC = [Rule(MIXER + r"dwconv\.(\w+)", THEIR_MIXER + r"\3")]
# Linear layers of the generators are 1x1 convolutions in the authors' networks.
DYNAMIC = [
    Rule(MIXER + "bias", THEIR_MIXER + "bias"),
    Rule(MIXER + r"(conv1|conv2)\.weight", THEIR_MIXER + r"\3.weight", without_ones(after=2)),
    Rule(MIXER + r"conv2\.bias", THEIR_MIXER + "conv2.bias"),
    Rule(MIXER + r"bn\.(\w+)", THEIR_MIXER + r"bn.\3"),
]
INHOMOGENEOUS = [
    Rule(MIXER + r"(conv1|conv2)\.weight", THEIR_MIXER + r"\3.0.weight", without_ones(after=2)),
    Rule(MIXER + r"(conv1|conv2)\.bias", THEIR_MIXER + r"\3.0.bias"),
    Rule(MIXER + r"bn\.(\w+)", THEIR_MIXER + r"conv1.1.\3"),
]

FAMILIES |= {
    "dwnet_": Family([*AROUND_MIXERS, *STATIC]),
    "dynamic_dwnet_": Family([*AROUND_MIXERS, *DYNAMIC]),
    "i_dynamic_dwnet_": Family([*AROUND_MIXERS, *INHOMOGENEOUS]),
}
