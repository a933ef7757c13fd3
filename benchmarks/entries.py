"""The entries of entries.yaml, one setting for each that takes turns in one measurement."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
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
        implementation: of the operator; None for a network.
        target: how many times as fast as the baseline it is meant to be; None where nobody said.
    """

    entry: str
    mode: str
    batch_size: int
    precision: str
    compiled: tuple[bool, ...]
    side: int = 224
    channels: int | None = None
    implementation: str | None = None
    target: float | None = None

    @property
    def name(self) -> str:
        """E.g. `unified_halo_tiny-inference-batch8` or `dcnv3-cpp-56x56x64-training-batch1`."""
        which = "" if self.channels is None else f"-{self.implementation}-{self.side}x{self.side}x{self.channels}"
        return f"{self.entry}{which}-{self.mode}-batch{self.batch_size}"


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
    implementations: Sequence[str],
    with_targets: bool,
) -> Iterator[Setting]:
    """Every setting of `entries` that can be run, entry by entry; `implementations` are the operator's."""
    for entry in entries:
        about = contents()["networks"].get(entry, {})
        targets = about if with_targets else {}
        forms = [{"compiled": tuple(compiled)}]
        if entry == OPERATOR:
            forms = [
                {"compiled": (False,), "side": side, "channels": channels, "implementation": implementation}
                for implementation, (side, channels) in product(implementations, contents()["dcnv3"].items())
            ]
        for form, batch_size, mode in product(forms, batch_sizes, modes):
            if mode == "training" and batch_size < about.get("smallest_training_batch", 1):
                continue
            yield Setting(entry, mode, batch_size, precision, target=targets.get(mode), **form)
