"""`python -m mixers` lists the mixers; `python -m mixers NAME` says what one is, what it costs and how far it sees."""

import argparse
import inspect
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from . import MIXERS, Mixer, build_mixer, mixer_options

WIDTHS = (96, 192, 384, 768)
"""Channels of the four stages of scale tiny."""
SIDES = (56, 28, 14, 7)
"""Rows and columns of the four stages' maps, for images of 224 pixels."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, or 2 for an unknown name."""
    parser = argparse.ArgumentParser(prog="python -m mixers", description="What the mixers are.")
    parser.add_argument("name", nargs="?", help="the mixer to describe; without it, all are listed")
    name = parser.parse_args(arguments).name
    sys.stdout.reconfigure(errors="replace")  # docstrings have signs that not every terminal knows
    if name is None:
        print("\n".join(listed()))
        return 0
    if name not in MIXERS:
        near = get_close_matches(name, MIXERS, n=1, cutoff=0)
        print(f"there is no mixer {name!r}, did you mean {near[0]}? `python -m mixers` lists all", file=sys.stderr)
        return 2
    print("\n".join(described(name)))
    return 0


def listed() -> list[str]:
    """A line for each mixer: its name and the first sentence of what is written about it."""
    width = max(map(len, MIXERS))
    return [f"{name:{width}}  {_first_sentence(MIXERS[name])}" for name in sorted(MIXERS)]


def described(name: str) -> list[str]:
    """What its file says of source, differences and cost, what its class says of options, and `by_stage`."""
    mixer_class = MIXERS[name]
    about = [inspect.getdoc(inspect.getmodule(mixer_class)), mixer_class.__doc__ and inspect.getdoc(mixer_class)]
    return (
        [f"{name} ({inspect.getsourcefile(mixer_class)})", ""]
        + [f"{text}\n" for text in about if text]
        + by_stage(name)
    )


def by_stage(name: str) -> list[str]:
    """A table: options by default, multiply-accumulates and reach in the four stages of scale tiny.

    What differs between the blocks of a stage is given for the first block and for the second.
    """
    columns = [_column(name, stage) for stage in range(len(WIDTHS))]
    lines = [[row, *(column[row] for column in columns)] for row in columns[0]]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    table = ["  ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    notes = ["reach: pixels that the output pixel in the middle of the map depends on"]
    if any(" / " in text for line in lines for text in line):
        notes.append("a / b: in the first, third, ... block of the stage, and in the second, fourth, ...")
    return [*table, "", *notes]


def _column(name: str, stage: int) -> dict[str, str]:
    """What a row of the table has in one stage."""
    dim, side = WIDTHS[stage], SIDES[stage]
    blocks = [_default_options(name, stage, block) for block in range(2)]
    mixers = [build_mixer(name, dim, (side, side), **options) for options in blocks]
    middle = (side // 2, side // 2)
    return {
        "stage": str(stage + 1),
        "channels": str(dim),
        "map": f"{side}x{side}",
        **{key: _either(*(options[key] for options in blocks)) for key in blocks[0]},
        "MACs, millions": _either(*(f"{mixer.macs((side, side)) / 1e6:.1f}" for mixer in mixers)),
        "reach": _either(*(int(mixer.receptive_field(middle, (side, side)).sum()) for mixer in mixers)),
    }


def _default_options(name: str, stage: int, block: int) -> Mapping[str, Any]:
    known = mixer_options(name)
    signature = {key: option.default for key, option in known.items() if option.default is not option.empty}
    defaults = {**signature, **MIXERS[name].defaults(WIDTHS[stage], stage, block, signature)}
    return {key: defaults[key] for key in known}


def _either(first: Any, second: Any) -> str:
    return str(first) if first == second else f"{first} / {second}"


def _first_sentence(mixer_class: type[Mixer]) -> str:
    text = inspect.getdoc(inspect.getmodule(mixer_class)) or mixer_class.__doc__ or ""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".")


if __name__ == "__main__":
    sys.exit(main())
