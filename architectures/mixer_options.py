"""From a mixer's options for a whole network to the scalars that each of its blocks gets."""

from collections.abc import Mapping, Sequence
from typing import Any

from mixers import MIXERS, check_options, mixer_options

STAGES = 4


def check_option_names(mixers: Sequence[str], given: Mapping[str, Any]) -> None:
    """Raises: ValueError when a mixer does not exist, or an option belongs to none of `mixers`."""
    known = {option for mixer in mixers for option in mixer_options(mixer)}
    for option in given:
        if option not in known:
            names = ", ".join(dict.fromkeys(mixers))
            choices = ", ".join(sorted(known)) or "none"
            raise ValueError(f"mixer_options: {names} has no option {option!r}; choices: {choices}")


def options_of_block(
    mixer: str,
    *,
    dim: int,
    stage: int,
    block: int,
    given: Mapping[str, Any],
    published: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Options of `mixer` in one block of `dim` channels; stage and block are counted from 0.

    What the user gave wins over the `published` row of the variant, and that over the mixer's `defaults`; what none of
    the three names stays at the default of the mixer's signature. Several values mean one a stage. Options that are
    another mixer's are left out.

    Raises: ValueError for several values that are not four, and for a value of another type than the option's.
    """
    known = mixer_options(mixer)
    chosen = {
        option: _of_stage(option, value, stage)
        for option, value in {**(published or {}), **given}.items()
        if option in known
    }
    check_options(mixer, chosen)  # before `defaults` computes with them
    signature = {option: each.default for option, each in known.items() if each.default is not each.empty}
    return {**MIXERS[mixer].defaults(dim, stage, block, signature | chosen), **chosen}


def follows_width(mixer: str) -> bool:
    """Whether the mixer has an option, like heads or groups, whose default depends on the width."""
    try:
        narrow, wide = (options_of_block(mixer, dim=dim, stage=0, block=0, given={}) for dim in (32, 1024))
    except ValueError:  # a width that its `defaults` refuses
        return True
    return narrow != wide


def _of_stage(option: str, value: Any, stage: int) -> Any:
    if not isinstance(value, list | tuple):
        return value
    if len(value) != STAGES:
        raise ValueError(f"mixer_options: {option} takes one value or {STAGES}, one a stage, not {value!r}")
    return value[stage]
