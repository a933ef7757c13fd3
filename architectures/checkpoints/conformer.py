"""Official checkpoints of Conformer (pengzhiliang/Conformer), classification and detection backbones."""

from .conversion import FAMILIES, Family, Rule

# (stage, block) of levels 2 to 12.
COUPLED_LEVELS = [(index // 4, index % 4) for index in range(1, 11)] + [(3, 0)]


def bottleneck_rules(ours: str, theirs: str) -> list[Rule]:
    """Rules of one bottleneck: regular expression for our prefix, the authors' prefix."""
    return [
        Rule(rf"{ours}conv([123])\.weight", rf"{theirs}conv\1.weight"),
        Rule(rf"{ours}norm([123])\.(\w+)", rf"{theirs}bn\1.\2"),
        Rule(rf"{ours}shortcut\.0\.weight", f"{theirs}residual_conv.weight"),
        Rule(rf"{ours}shortcut\.1\.(\w+)", rf"{theirs}residual_bn.\1"),
    ]


def coupled_level_rules(ours: str, theirs: str) -> list[Rule]:
    return [
        *bottleneck_rules(rf"{ours}conv_block\.", f"{theirs}cnn_block."),
        Rule(rf"{ours}to_tokens\.conv\.(\w+)", rf"{theirs}squeeze_block.conv_project.\1"),
        Rule(rf"{ours}to_tokens\.norm\.(\w+)", rf"{theirs}squeeze_block.ln.\1"),
        Rule(rf"{ours}token_block\.(.+)", rf"{theirs}trans_block.\1"),
        Rule(rf"{ours}to_map\.conv\.(\w+)", rf"{theirs}expand_block.conv_project.\1"),
        Rule(rf"{ours}to_map\.norm\.(\w+)", rf"{theirs}expand_block.bn.\1"),
        *bottleneck_rules(rf"{ours}fusion_block\.", f"{theirs}fusion_block."),
    ]


OPENING = r"stages\.0\.blocks\.0\."
RULES = [
    Rule(r"stem\.conv\.weight", "conv1.weight"),
    Rule(r"stem\.norm\.(\w+)", r"bn1.\1"),
    *bottleneck_rules(rf"{OPENING}conv_block\.", "conv_1."),
    Rule(rf"{OPENING}cls_token", "cls_token"),
    Rule(rf"{OPENING}patch_embed\.(\w+)", r"trans_patch_conv.\1"),
    Rule(rf"{OPENING}token_block\.(.+)", r"trans_1.\1"),
    *(
        rule
        for level, (stage, block) in enumerate(COUPLED_LEVELS, start=2)
        for rule in coupled_level_rules(rf"stages\.{stage}\.blocks\.{block}\.", f"conv_trans_{level}.")
    ),
    Rule(r"token_norm\.(\w+)", r"trans_norm.\1"),
    Rule(r"token_classifier\.(\w+)", r"trans_cls_head.\1"),
    Rule(r"map_classifier\.(\w+)", r"conv_cls_head.\1"),
]

FAMILIES["conformer_"] = Family(RULES)
