"""Names for nodes that are all this machine, so that the processes of a cell find each other by node name."""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

HOSTS = Path("/etc/hosts")


def can_name_hosts() -> bool:
    return os.access(HOSTS, os.W_OK)


def add_names(names: Sequence[str], owner: Path) -> None:
    """A line of its own, marked with the directory of the cluster, which `remove_names` finds again."""
    _edit(lambda lines: [*lines, f"127.0.0.1 {' '.join(names)} {_mark(owner)}"])


def remove_names(owner: Path) -> None:
    if can_name_hosts() and _mark(owner) in HOSTS.read_text():
        _edit(lambda lines: [line for line in lines if not line.endswith(_mark(owner))])


def _mark(owner: Path) -> str:
    return f"# slurm test cluster {owner}"


def _edit(change) -> None:
    # In place: in a container the file is often a mount of its own, which cannot be replaced.
    with open(HOSTS, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = change(file.read().splitlines())
        file.seek(0)
        file.write("\n".join(lines) + "\n")
        file.truncate()
