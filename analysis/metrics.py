"""A number that a task finds: what it is called, in which unit it stands, which way is better."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One number of a record's results.

    Attributes:
        name: its key in the results; ends in its unit where it has one.
        label: for headings, axes and cards.
        unit: as it stands beside a number, "" where there is none.
        better: which way is better; None where neither is.
        digits: behind the point, where it is shown.
        least, most: what it can be; a record that says otherwise is left out.
        whole: whether it is a count.
    """

    name: str
    label: str
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    digits: int = 2
    least: float | None = None
    most: float | None = None
    whole: bool = False


def percent(name: str, label: str, better: Literal["higher", "lower"] | None = "higher") -> Metric:
    """A share, between 0 and 100 %."""
    return Metric(name, label, unit="%", better=better, least=0, most=100)


PARAMS = Metric("params", "params", better="lower", least=1, whole=True)
MACS = Metric("macs", "MACs", better="lower", least=1, whole=True)
ACTIVATIONS = Metric("activations", "activations", better="lower", least=1, whole=True)
COSTS = (PARAMS, MACS, ACTIVATIONS)
TOP1 = percent("top1_percent", "top-1")
TOP5 = percent("top5_percent", "top-5")
VALIDATION_LOSS = Metric("validation_loss", "validation loss", better="lower", digits=4)
