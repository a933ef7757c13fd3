"""Which implementations computed something: for the record of a measurement, in place of what was asked for."""

from collections.abc import Iterator
from contextlib import contextmanager

Used = set[tuple[str, str]]

_listening: list[Used] = []


def note(operation: str, implementation: str) -> None:
    """An operation with several implementations says here which one computes it now."""
    for used in _listening:
        used.add((operation, implementation))


@contextmanager
def used_implementations() -> Iterator[Used]:
    """The operations and implementations that are noted inside of the `with`, in whatever thread.

    Backward passes have threads of their own on a GPU.
    """
    used: Used = set()
    _listening.append(used)
    try:
        yield used
    finally:
        # By identity: two equal sets may be listening.
        _listening[:] = [other for other in _listening if other is not used]


def summary(used: Used) -> str:
    """`cpp` if that computed all of them, or each by name: `dcnv3 reference, softmax cpp`; empty for none."""
    implementations = {implementation for _, implementation in used}
    if len(implementations) == 1:
        return implementations.pop()
    return ", ".join(f"{operation} {implementation}" for operation, implementation in sorted(used))
