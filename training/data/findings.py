"""Images that are damaged or unusual: named once, counted, and tolerated up to a share of all."""

import logging
from collections.abc import Iterable
from typing import NamedTuple

log = logging.getLogger(__name__)

NAMED_IN_ERROR = 3


class Finding(NamedTuple):
    """What a data worker noticed about an image: it cannot be read, or it had to be converted."""

    name: str
    remark: str
    corrupt: bool


class CorruptImagesError(OSError):
    """More images than tolerated cannot be read."""


class Findings:
    """Those of one split of a data set, each image once, however often it comes.

    Args:
        images: how many the split has.
        max_share: of these, how many may be unreadable.
    """

    def __init__(self, images: int, max_share: float) -> None:
        self.images = images
        self.max_share = max_share
        self.corrupt: dict[str, str] = {}
        self.converted: dict[str, str] = {}

    def add(self, findings: Iterable[Finding]) -> None:
        """Logs what is new.

        Raises: CorruptImagesError naming the first, when there are too many.
        """
        for name, remark, corrupt in findings:
            known = self.corrupt if corrupt else self.converted
            if name in known:
                continue
            known[name] = remark
            if corrupt:
                log.warning("%s cannot be read as an image: %s", name, remark)
                self._judge()
            else:
                log.info("%s was converted: %s", name, remark)

    def _judge(self) -> None:
        count = len(self.corrupt)
        if count <= self.max_share * self.images:
            return
        named = [f"{name} cannot be read as an image: {why}" for name, why in self.corrupt.items()][:NAMED_IN_ERROR]
        rest = f" (and {count - len(named)} others)" if count > len(named) else ""
        raise CorruptImagesError(
            f"{count} of {self.images} images are damaged, more than data.max_corrupt_share={self.max_share:g} allows: "
            f"{'; '.join(named)}{rest}"
        )
