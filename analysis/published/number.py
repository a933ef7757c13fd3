"""Numbers as papers print them: "24M", "3.8G", "81.2", "~4.5M"."""

import re
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

SCALES = {"": Decimal(1), "K": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9}
PRINTED = re.compile(r"(?P<about>~?)(?P<digits>\d+(?:\.(?P<decimals>\d+))?)(?P<unit>[KMG]?)")


@dataclass(frozen=True)
class PublishedNumber:
    """One printed number.

    Attributes:
        value: the number in plain units, 24000000 for "24M".
        precision: what one step of the last printed digit is worth, 1000000 for "24M"; None where the source says
            "about" (a leading ~), so that no digit can be held against it.
    """

    value: Decimal
    precision: Decimal | None

    @classmethod
    def parse(cls, text: str) -> "PublishedNumber":
        """Reads one cell of a published table.

        Raises:
            ValueError: the text is not a number with an optional ~ before and K, M or G after it.
        """
        match = PRINTED.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a published number: expected for example 24M, 3.8G, 81.2 or ~4.5M")
        scale = SCALES[match["unit"]]
        step = scale / Decimal(10) ** len(match["decimals"] or "")
        return cls(Decimal(match["digits"]) * scale, None if match["about"] else step)

    def digits_from(self, measured: int | float) -> str | None:
        """Names how the printed digits follow from a measured number.

        Returns:
            "rounded", "truncated" or "rounded up", the first that gives the printed digits (a tie may round either
            way); None where none of them does.

        Raises:
            ValueError: the printed number is approximate, which leaves nothing to compare.
        """
        if self.precision is None:
            raise ValueError("an approximate number has no digits to compare")
        # Measured in steps of the last digit, so that one comparison fits every unit and every number of decimals.
        steps_too_many = (Decimal(measured) - self.value) / self.precision
        if abs(steps_too_many) <= Decimal("0.5"):
            return "rounded"
        if steps_too_many.to_integral_value(ROUND_FLOOR) == 0:
            return "truncated"
        if -1 < steps_too_many < 0:
            return "rounded up"
        return None
