"""Which implementations computed something: for the record of a measurement, in place of what was asked for."""

from collections.abc import Iterator
from contextlib import contextmanager

_listening: list[set[str]] = []


def note(implementation: str) -> None:
    """An operation with several implementations says here which one computes it now."""
    for names in _listening:
        names.add(implementation)


@contextmanager
def used_implementations() -> Iterator[set[str]]:
    """The names that are noted inside of the `with`, in whatever thread: backward passes have their own on a GPU."""
    names: set[str] = set()
    _listening.append(names)
    try:
        yield names
    finally:
        # By identity: two equal sets may be listening.
        _listening[:] = [other for other in _listening if other is not names]
