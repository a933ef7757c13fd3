"""From a mixer's options for a whole network to the scalars that each of its blocks gets."""

from collections.abc import Mapping, Sequence
from typing import Any

from mixers import MIXERS, mixer_options

STAGES = 4


def check_option_names(mixers: Sequence[str], given: Mapping[str, Any]) -> None:
    """Raises: ValueError when a mixer does not exist, or an option belongs to none of `mixers`."""
    known = {option for mixer in mixers for option in mixer_options(mixer)}
    for option in given:
        if option not in known:
            names = ", ".join(dict.fromkeys(mixers))
            choices = ", ".join(sorted(known)) or "none"
            raise ValueError(f"mixer_options: {names} has no option {option!r}; choices: {choices}")


def options_of_blocks(
    mixer: str, *, dim: int, stage: int, depth: int, given: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Options of the mixer in each of the `depth` blocks of stage 0..3.

    A value from `given` wins over the mixer's `per_block` cycle, and that over its `per_stage` rule; what none of them
    names stays at the default of the mixer's signature. Several values mean one a stage, or, for the options in
    `per_block`, a cycle along the blocks. Options of `given` that are another mixer's are left out.

    Raises: ValueError for several values that are not four, one a stage.
    """
    known, per_stage, per_block = mixer_options(mixer), MIXERS[mixer].per_stage, MIXERS[mixer].per_block
    chosen = {**per_stage, **per_block, **{key: value for key, value in given.items() if key in known}}
    return [
        {key: _value(key, value, dim, stage, block if key in per_block else None) for key, value in chosen.items()}
        for block in range(depth)
    ]


def _value(option: str, value: Any, dim: int, stage: int, block: int | None) -> Any:
    """The scalar for one block; `block` is its index where the option alternates along the blocks."""
    if callable(value):
        return value(dim)
    if not isinstance(value, list | tuple):
        return value
    if block is not None and value:
        return value[block % len(value)]
    if len(value) != STAGES:
        raise ValueError(f"mixer_options: {option} takes one value or {STAGES}, one a stage, not {value!r}")
    return value[stage]
