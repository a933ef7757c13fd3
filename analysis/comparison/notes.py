"""How to read a comparison's numbers, in sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ..noise import NOISY_ABOVE_PERCENT, NOISY_SIGN
from ..records import MIXER_ALONE
from .beside_published import PUBLISHED_RULE
from .reference_speed import ReferenceSpeed

MIXERS_ALONE = (
    "A mixer alone gets maps without a network around it; its training step is forward and backward. GMAC/s count its "
    "multiply-accumulates, three times in training. GB/s count input, parameters and output once, and in training also "
    "what the gradients of input and parameters need (input, parameters, the output's gradient) and are: intermediate "
    "results are not counted, since they need never reach memory."
)


@dataclass(frozen=True)
class Note:
    """A note in full and, for the terminal, in short (where that is empty, it is left out there)."""

    text: str
    short: str = ""


def notes(
    rows: pd.DataFrame,
    speed: pd.DataFrame,
    references: Sequence[ReferenceSpeed],
    unreadable: Sequence[str],
    margin: float,
    code_versions: int = 1,
    mixed_code: bool = False,
) -> list[Note]:
    """What a reader of `rows` has to know, and nothing about what is not there."""
    found = []
    if rows["top1_percent"].notna().any():
        found.append(
            Note(
                "Top-1 is of the last epoch, on the validation images: mean over seeds ± standard deviation.",
                "± is the standard deviation over seeds.",
            )
        )
    if rows["verdict"].notna().any():
        found.append(_verdicts(rows, margin))
    if rows["diverged"].notna().any():
        named = "; ".join(
            f"{row['mixer'] or row['network']}: {row['diverged']}"
            for row in rows[rows["diverged"].notna()].to_dict("records")
        )
        text = f"Seeds that diverged are counted, and in no mean and no verdict: {named}."
        found.append(Note(text, text))
    if rows["macs"].notna().any():
        found.append(
            Note("MACs are multiply-accumulates of one image: convolutions, linear layers, matrix products, sampling.")
        )
    conditions = _speed_conditions(references)
    if conditions:
        found.append(
            Note(
                f"Speed is the median after warm-up, ± the inter-quartile range, measured {conditions}. A training "
                "step is forward, backward and optimiser, without reading data.",
                f"Speed: {conditions}.",
            )
        )
    if (speed["iqr_percent"] > NOISY_ABOVE_PERCENT).any():
        text = (
            f"{NOISY_SIGN} The inter-quartile range is above {NOISY_ABOVE_PERCENT:g} % of the median: the machine was "
            "not quiet."
        )
        found.append(Note(text, text))
    if (speed["subject"] == MIXER_ALONE).any():
        found.append(Note(MIXERS_ALONE))
    if speed["speedup"].notna().any():
        found.append(
            Note(
                "Times as fast: median over turns of the reference's latency by this one's, with the 95 % confidence "
                "interval of that median; both took turns in one process."
            )
        )
    environments = sorted({name for names in rows["speed_environment"].dropna() for name in names.split(", ")})
    if len(environments) > 1:
        text = (
            f"Speeds come from {len(environments)} environments ({', '.join(environments)}): compare within one only."
        )
        found.append(Note(text, text))
    if code_versions > 1:
        apart = "each is averaged and ranked on its own; task.mixed_code=true puts them together"
        how = "averaged and ranked all the same, as asked" if mixed_code else apart
        text = f"Results come from {code_versions} versions of the code (column code): {how}."
        found.append(Note(text, text))
    if rows[["published_params", "published_macs", "published_top1_percent"]].notna().any(axis=None):
        found.append(Note(PUBLISHED_RULE, "Published: ImageNet-1k at 224×224."))
    if unreadable:
        text = f"{len(unreadable)} unreadable records left out: {'; '.join(unreadable)}"
        found.append(Note(text, text))
    found.append(Note("An empty cell was not measured."))
    return found


def _verdicts(rows: pd.DataFrame, margin: float) -> Note:
    errors = sorted(set(rows["error_of"].dropna()) - {"nothing"})
    only = "" if errors != ["seeds"] else "; other images would add to it, but no outcomes per image were kept"
    of = f", whose error is that of {' or '.join(errors)}{only}" if errors else ""
    short = f"* better than all others, ≈ within {margin:g} points of the best, ? unresolved, no sign: worse."
    return Note(
        "A verdict compares a row with the best of the others, where nothing but the network differs: same data, "
        "recipe, resolution, precision, budget rule and scale. All differences of a comparison are in their intervals "
        f"together with 95 % probability (Tukey's for all pairs{of}). Better and worse: the interval leaves out zero. "
        f"Equivalent: it lies within {margin:g} percentage points. Else it is unresolved, and said how many seeds "
        f"would show a difference of {margin:g} points four times in five.",
        short,
    )


def _speed_conditions(references: Sequence[ReferenceSpeed]) -> str:
    """E.g. `eager, fp32, channels_last, batch 8 (inference and training)`."""
    modes_by_conditions: dict[str, list[str]] = {}
    for reference in references:
        if reference.conditions is not None:
            modes_by_conditions.setdefault(reference.describe(), []).append(reference.mode)
    return "; ".join(f"{conditions} ({' and '.join(modes)})" for conditions, modes in modes_by_conditions.items())
