"""Disk space that is set aside while a cell runs, so that a full disk can still be told about in its record."""

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

RESERVED_BYTES = 256 * 1024


class Reserve:
    """Inside the `with` block, `directory` holds a file of this size; `release` gives its space back at once."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / ".reserve"

    def __enter__(self) -> Self:
        self.path.write_bytes(b"\x55" * RESERVED_BYTES)  # zeros could be stored as a hole
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        with suppress(OSError):  # gone already, or nothing can be changed here any more
            self.path.unlink()
