"""Which implementations computed something, and why faster ones did not: for the record of a measurement, in place of
what was asked for."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .eager import constant_in_graphs

Used = set[tuple[str, str]]

REFERENCE = "reference"
"""PyTorch's own functions, or what is made of them: there for every device and dtype."""
MIXING = (
    "dcnv3",
    "depthwise",
    "involution",
    "local_attention",
    "neighborhood",
    "selective_scan",
    "softmax",
    "spectral_filter",
)
"""The operations that a mixer is told apart by; the others are the same in every network."""

logger = logging.getLogger(__name__)
_listening: list[Used] = []
_obstacles: dict[tuple[str, str], str] = {}


@constant_in_graphs
def note(operation: str, implementation: str) -> None:
    """An operation with several implementations says here which one computes it now; in a graph, when it is made."""
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


def by_operation(used: Used) -> Mapping[str, list[str]]:
    """Each operation's implementations, e.g. `{"gelu": ["cpp", "reference"]}`: small tensors may go another way."""
    operations = sorted({operation for operation, _ in used})
    return {
        name: sorted(implementation for operation, implementation in used if operation == name) for name in operations
    }


def goes_without(operation: str, implementation: str, obstacle: str) -> None:
    """An operation says here why one of its implementations cannot run on this machine. The log says it once, and what
    keeps several operations from it, like a missing compiler, with the first of them only."""
    if (operation, implementation) in _obstacles:
        return
    if obstacle not in _obstacles.values():
        logger.warning(
            "%s, and all that needs the same, goes without its %s implementation: %s",
            operation,
            implementation,
            obstacle,
        )
    _obstacles[operation, implementation] = obstacle


def missing(used: Used) -> Mapping[str, str]:
    """Of the operations in `used`, the implementations that could not run here, e.g. `gelu cpp`, and why."""
    operations = {operation for operation, _ in used}
    return {
        f"{operation} {implementation}": obstacle
        for (operation, implementation), obstacle in sorted(_obstacles.items())
        if operation in operations
    }
