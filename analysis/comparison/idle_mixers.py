"""Says when a comparison of mixers compares what nobody needs: networks that are as good without their mixers."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

WITHOUT_MIXERS = "top1_without_mixers_percent"
IDLE_SHARE = 0.1
"""Of what a network is better than chance: it does without its mixers when it loses no more with them."""


def idle_mixers(rows: pd.DataFrame) -> list[str]:
    """A sentence for each group of compared rows, among those with a mixer that mixes, where most do without it."""
    mixing = rows[rows[WITHOUT_MIXERS].notna() & (rows["mixer"] != "identity")]
    return [sentence for _, group in mixing.groupby("comparison", sort=False) for sentence in _sentence(group)]


def _sentence(group: pd.DataFrame) -> Iterator[str]:
    chance = 100 / group["num_classes"].astype("float64")
    gained, kept = group["top1_percent"] - chance, group[WITHOUT_MIXERS] - chance
    learned = gained > 0
    idle = group[learned & (gained - kept <= IDLE_SHARE * gained)]
    if 2 * len(idle) > int(learned.sum()):
        most = idle.loc[(idle["top1_percent"] - idle[WITHOUT_MIXERS]).abs().idxmax()]
        yield (
            f"Removing the mixers changes next to nothing on {_data(most)}: with every mixer's output set to zero "
            f"after training, {_names(idle)} keep at least {100 * (1 - IDLE_SHARE):.0f} % of what they are better than "
            f"chance (largest change: {most['mixer'] or most['network']}, {most['top1_percent']:.2f} to "
            f"{most[WITHOUT_MIXERS]:.2f} %). What these images ask for is seen without them, so differences between "
            "these rows say nothing about mixers."
        )


def _data(row: Any) -> str:
    return f"{row['data']} at {row['resolution']}×{row['resolution']}"


def _names(rows: pd.DataFrame) -> str:
    names = list(dict.fromkeys(rows["mixer"].fillna(rows["network"])))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
