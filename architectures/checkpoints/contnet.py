"""Official checkpoints of ConTNet (yan-hao-tian/ConTNet), with any of the authors' options."""

from collections.abc import Iterator, Sequence

from ..registry import NETWORKS
from .conversion import FAMILIES, Family, Rule, without_ones


def block_rules(ours: str, theirs: str) -> list[Rule]:
    """Rules of one block: regular expression for our prefix, the authors' prefix."""
    return [
        Rule(rf"{ours}norm\.(\w+)", rf"{theirs}bn.\1"),
        Rule(rf"{ours}encoder([12])\.row_position", rf"{theirs}ste\1.pe.0", without_ones(before=1)),
        Rule(rf"{ours}encoder([12])\.column_position", rf"{theirs}ste\1.pe.1", without_ones(before=1)),
        Rule(rf"{ours}encoder([12])\.(attn|mlp)\.(.+)", rf"{theirs}ste\1.\2.\3"),
        Rule(rf"{ours}encoder([12])\.(norm[12])\.(\w+)", rf"{theirs}ste\1.\2.\3"),
        Rule(rf"{ours}conv\.weight", f"{theirs}out_conv.conv.weight"),
        Rule(rf"{ours}shortcut\.weight", f"{theirs}downsample.conv.weight"),
        Rule(rf"{ours}shortcut\.1\.weight", f"{theirs}downsample.conv.conv.weight"),
    ]


def blocks(depths: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
    """Our stage and block of each of the authors' stages and blocks: the last block of a stage opens our next one."""
    for stage, depth in enumerate(depths):
        opened = int(stage > 0)
        for block in range(depth):
            if block == depth - 1 and stage < len(depths) - 1:
                yield stage + 1, 0, stage, block
            else:
                yield stage, block + opened, stage, block


def family(depths: Sequence[int]) -> Family:
    rules = [Rule(r"stem\.conv\.weight", "layer0.conv.conv.weight"), Rule(r"head\.(\w+)", r"fc.\1")]
    for stage, block, their_stage, their_block in blocks(depths):
        rules += block_rules(
            rf"stages\.{stage}\.blocks\.{block}\.",
            f"layer{their_stage + 1}.ConTBlock{their_block}.",
        )
    return Family(rules, recomputed=("relative_position_index",))


FAMILIES |= {name: family(entry.row["depths"]) for name, entry in NETWORKS.items() if name.startswith("contnet_")}
