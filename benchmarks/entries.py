"""The entries of entries.yaml, one setting for each that takes turns in one measurement."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("entries.yaml")
MODES = ("inference", "training")
OPERATOR = "dcnv3"


@dataclass(frozen=True)
class Setting:
    """A baseline and what is measured against it, under one set of conditions.

    Attributes:
        entry: a network's name, or `dcnv3` for the operator alone.
        side: of the square images, or of the operator's map, in pixels.
        channels: of the operator's map; None for a network.
        target: how many times as fast as the baseline it is meant to be; None where nobody said.
    """

    entry: str
    mode: str
    batch_size: int
    precision: str
    compiled: tuple[bool, ...]
    side: int = 224
    channels: int | None = None
    target: float | None = None

    @property
    def name(self) -> str:
        """E.g. `unified_halo_tiny-inference-batch8`."""
        shape = "" if self.channels is None else f"-{self.side}x{self.side}x{self.channels}"
        return f"{self.entry}{shape}-{self.mode}-batch{self.batch_size}"


@cache
def contents() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def entry_names() -> list[str]:
    return [*contents()["networks"], OPERATOR]


def settings_of(
    entries: Sequence[str],
    *,
    modes: Sequence[str],
    batch_sizes: Sequence[int],
    precision: str,
    compiled: Sequence[bool],
    with_targets: bool,
) -> Iterator[Setting]:
    """Every setting of `entries`, entry by entry."""
    for entry in entries:
        shapes = contents()["dcnv3"].items() if entry == OPERATOR else [(224, None)]
        targets = contents()["networks"].get(entry, {})
        for side, channels in shapes:
            for batch_size in batch_sizes:
                for mode in modes:
                    yield Setting(
                        entry,
                        mode,
                        batch_size,
                        precision,
                        (False,) if entry == OPERATOR else tuple(compiled),
                        side,
                        channels,
                        targets.get(mode) if with_targets else None,
                    )
