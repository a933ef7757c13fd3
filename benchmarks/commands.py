"""How long a command takes, and how much memory it needs."""

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20


@dataclass(frozen=True)
class Measured:
    """Of one run: wall-clock and CPU seconds, peak resident memory in MiB, and what it printed."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    output: str


def measure(command: Sequence[str], folder: Path, statuses: Sequence[int] = (0,)) -> Measured:
    """Run `command` in `folder`.

    Raises:
        RuntimeError: its exit status is none of `statuses`; the message ends with what it printed.
    """
    with tempfile.TemporaryFile() as file:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)
        _, wait_status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(wait_status)
        file.seek(0)
        output = file.read().decode(errors="replace")
    if process.returncode not in statuses:
        raise RuntimeError(f"{' '.join(command)}: exit status {process.returncode}\n{output}")
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / MIB, output)
