"""Slurm's commands, played by a small script: they remember what they were asked, and answer what a test says."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """#!/bin/sh
cd {folder}
name=$(basename "$0")
echo "$name $*" >> calls
[ -e $name.fails ] && {{ cat $name.fails >&2; exit 1; }}
case $name in
sbatch)
  for script; do :; done
  count=$(($(ls submitted | wc -l) + 1))
  if [ -e sbatch.takes ] && [ $count -gt $(cat sbatch.takes) ]; then
    echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2
    exit 1
  fi
  cp "$script" submitted/$count
  echo "Submitted batch job $count" ;;
squeue)
  [ -e squeue ] && {{ cat squeue; exit 0; }}
  for array in $(ls submitted); do
    job=$(sed -n 's/^#SBATCH --job-name=//p' submitted/$array)
    last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' submitted/$array)
    for index in $(seq 0 $last); do echo "$array|$index|$job|PENDING|Priority||1:00:00"; done
  done ;;
sacctmgr) case "$*" in *"show assoc"*) cat sacctmgr 2>/dev/null ;; esac ;;
scontrol) cat scontrol 2>/dev/null || echo "MaxArraySize            = 1001" ;;
*) cat $name 2>/dev/null ;;
esac
exit 0
"""


@dataclass
class FakeSlurm:
    """sbatch takes what it gets; all of that waits in the queue until a test says what squeue, or sacct, answers."""

    folder: Path

    def install(self) -> None:
        (self.folder / "submitted").mkdir(parents=True)
        for command in ("sbatch", "squeue", "sacct", "sacctmgr", "scontrol", "scancel", "srun"):
            path = self.folder / "bin" / command
            path.parent.mkdir(exist_ok=True)
            path.write_text(SCRIPT.format(folder=self.folder))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def path(self) -> str:
        return f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def answer(self, command: str, text: str) -> None:
        (self.folder / command).write_text(text)

    def fail(self, command: str, message: str) -> None:
        (self.folder / f"{command}.fails").write_text(message)

    def work(self, command: str) -> None:
        (self.folder / f"{command}.fails").unlink()

    def take(self, arrays: int) -> None:
        """After so many arrays, sbatch refuses."""
        (self.folder / "sbatch.takes").write_text(str(arrays))

    def scripts(self) -> list[str]:
        """What was submitted, the oldest first."""
        paths = sorted((self.folder / "submitted").iterdir(), key=lambda path: int(path.name))
        return [path.read_text() for path in paths]

    def calls(self, command: str) -> list[str]:
        """The arguments of each call."""
        calls = self.folder / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line.removeprefix(f"{command} ") for line in lines if line.startswith(f"{command} ")]
