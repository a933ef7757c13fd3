"""Finding the processes of a cluster, also of one whose owner was killed, by what they have open or were told."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "slurmstepd")


@dataclass(frozen=True)
class Process:
    pid: int
    name: str
    node: str | None = None

    def running(self) -> bool:
        """Whether it still exists, and is not just waiting for its parent to take note of its end."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return not fields.startswith("Z")

    def send(self, number: signal.Signals) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    def wait(self, seconds: float) -> bool:
        """Whether it has ended after at most `seconds`."""
        deadline = time.monotonic() + seconds
        while self.running():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def processes_of(base: Path) -> Iterator[Process]:
    """Daemons that hold files of the cluster in `base` open, and the processes of its jobs."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name = (entry / "comm").read_text().strip()
            # slurmctld runs its scripts in a child of its own, which goes with it.
            owned, node = _as_daemon(base, entry) if name in DAEMONS else _as_part_of_a_job(base, entry)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if owned:
            yield Process(int(entry.name), name, node)


def _as_daemon(base: Path, entry: Path) -> tuple[bool, str | None]:
    """Whether it belongs to the cluster, and to which node. A step daemon writes to the log of its node's slurmd."""
    paths = []
    for descriptor in (entry / "fd").iterdir():
        try:
            paths.append(Path(os.readlink(descriptor)))
        except FileNotFoundError:
            continue
    ours = [path for path in paths if path.is_relative_to(base)]
    logs = [path.stem for path in ours if path.name.startswith("slurmd-")]
    return bool(ours), logs[0].removeprefix("slurmd-") if logs else None


def _as_part_of_a_job(base: Path, entry: Path) -> tuple[bool, str | None]:
    """Slurm tells every process of a job where its configuration is, and on which node the job runs."""
    pairs = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
    environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    node = environment.get("SLURMD_NODENAME")
    return node is not None and environment.get("SLURM_CONF") == f"{base}/slurm.conf", node
