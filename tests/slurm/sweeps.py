"""Sweeps of small training cells, submitted and looked after as a user does, and judged by what they leave behind."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from .cluster import Cluster

ROOT = Path(__file__).parents[2]
MIXER_MODULE = Path(__file__).with_name("trial_mixer.py")
STEPS_AN_EPOCH = 2


def write_images(root: Path) -> None:
    """A data set of two classes: 16 images to train on, 4 to validate with."""
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 8), ("val", 2)):
        for label in ("dark", "bright"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = torch.randint(0, 128, (32, 32, 3), generator=generator) + 127 * (label == "bright")
                Image.fromarray(pixels.to(torch.uint8).numpy()).save(folder / f"{number}.png")


@dataclass
class TrialSweep:
    """One sweep on one cluster. The working directory of its commands is `folder`, which is also where `runs` is."""

    cluster: Cluster
    folder: Path
    images: Path
    name: str = "trial"

    # What a user types

    def run_command(self, *overrides: str) -> list[str]:
        """`python run.py -m …` with cells that take a second."""
        return [
            *(sys.executable, str(ROOT / "run.py"), "-m", f"sweep={self.name}", "platform=slurm", "platform.hours=1"),
            *(f"mixer_module={MIXER_MODULE}", "mixer=trial", "scale=micro", "task=train"),
            *("data=image_folder", f"data.root={self.images}", "data.resolution=32", "data.workers=0"),
            *("recipe=short", "recipe.batch_size=8", "recipe.epochs=2", "recipe.warmup_epochs=0"),
            *("tracking.mode=disabled", "device=cpu", "platform.signal_seconds=20", "platform.cpus_per_task=1"),
            *overrides,
        ]

    def launch_command(self, command: str, *arguments: str) -> list[str]:
        """`python -m launch COMMAND SWEEP …`"""
        return [sys.executable, "-m", "launch", command, self.name, *arguments]

    def start(self, command: list[str]) -> "subprocess.Popen[str]":
        environment = self.cluster.environment | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        }
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def call(self, command: list[str], status: int | None = 0) -> str:
        """What the command prints; it must exit with `status`."""
        with self.start(command) as process:
            output, _ = process.communicate(timeout=300)
        assert status is None or process.returncode == status, f"exit status {process.returncode}\n{output}"
        return output

    def submit(self, *overrides: str) -> str:
        return self.call(self.run_command(*overrides))

    def status(self) -> Mapping[str, Any]:
        """What `status --json` says."""
        return json.loads(self.call(self.launch_command("status", "--json"), status=None))

    # What happens

    def queue(self) -> list[dict[str, str]]:
        """Jobs that Slurm has not finished with."""
        fields = {"job": "%i", "state": "%T", "reason": "%r", "node": "%N"}
        text = self.cluster.run("squeue", "--noheader", "--array", f"--format={'|'.join(fields.values())}")
        return [dict(zip(fields, line.split("|"), strict=True)) for line in text.splitlines()]

    def running(self) -> list[str]:
        return [job["job"] for job in self.queue() if job["state"] == "RUNNING"]

    def skip_requeue_delay(self) -> None:
        """Slurm keeps a job that was requeued waiting for two minutes, which teaches nothing."""
        for job in self.queue():
            if job["state"] == "PENDING" and job["reason"] == "BeginTime":
                self.cluster.run("scontrol", "update", f"JobId={job['job']}", "StartTime=now")

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}\n{self.describe()}"
            self.skip_requeue_delay()
            time.sleep(0.3)

    def wait_until_over(self, seconds: float = 480) -> None:
        self.wait("the last job's end", lambda: not self.queue(), seconds)

    # What is left

    @property
    def directory(self) -> Path:
        return self.folder / "runs" / self.name

    def cells(self) -> list[str]:
        return sorted(path.parent.name for path in self.directory.glob("*/config.yaml"))

    def record(self, cell: str) -> Mapping[str, Any] | None:
        try:
            return json.loads((self.directory / cell / "record.json").read_text())
        except FileNotFoundError:
            return None

    def records(self) -> dict[str, Mapping[str, Any] | None]:
        return {cell: self.record(cell) for cell in self.cells()}

    def statuses(self) -> Counter[str]:
        return Counter(record["status"] if record else "no record" for record in self.records().values())

    def cells_with(self, **options: Any) -> list[str]:
        """Cells whose mixer has these options."""
        return [
            cell
            for cell, record in self.records().items()
            if record and options.items() <= record["config"]["mixer"].items()
        ]

    def attempts(self, cell: str) -> list[Mapping[str, Any]]:
        """Each start of the cell, and how that ended."""
        attempts: list[dict[str, Any]] = []
        path = self.directory / cell / "attempts.jsonl"
        for line in path.read_text().splitlines() if path.exists() else ():
            event = json.loads(line)
            attempts.append(event) if "started" in event else attempts[-1].update(event)
        return attempts

    def outcomes(self, cell: str) -> list[str | None]:
        return [attempt.get("status") for attempt in self.attempts(cell)]

    def weights(self, cell: str) -> bytes:
        """The trained parameters; equal bytes are equal numbers."""
        return (self.directory / cell / "checkpoints" / "last.safetensors").read_bytes()

    def losses(self, cell: str) -> list[tuple[float, float]]:
        """Of each epoch: in training and in validation."""
        rows = (json.loads(line) for line in (self.directory / cell / "metrics.jsonl").read_text().splitlines())
        return [(row["train_loss"], row["validation_loss"]) for row in rows]

    def epochs(self, cell: str) -> list[int]:
        path = self.directory / cell / "metrics.jsonl"
        return [json.loads(line)["epoch"] for line in path.read_text().splitlines()] if path.exists() else []

    def job_states(self) -> Counter[str]:
        """How Slurm's accounting judges the jobs of the sweep, each once: by its last round. It may lag a bit."""
        text = self.cluster.run("sacct", "--noheader", "--allocations", "--parsable2", "--format=JobName,State")
        rows = [line.split("|") for line in text.splitlines()]
        return Counter(state.split()[0] for name, state in rows if name.startswith(f"{self.name}-"))

    def check_jobs(self, **states: int) -> None:
        """Slurm's states of the sweep's jobs, e.g. `COMPLETED=3`."""
        self.wait(f"{states} in the accounts", lambda: self.job_states() == Counter(states), seconds=30)

    def check(self, completed: int, **others: int) -> None:
        """The sweep is over; so many cells are completed, each once, and so many are in each other status.

        No record is lost, what is completed is complete, and but for processes that were killed and could not tidy up,
        no lock and no half-written file remain.
        """
        assert self.statuses() == Counter({"completed": completed, **others}), self.describe()
        for cell, record in self.records().items():
            outcomes = self.outcomes(cell)
            assert outcomes.count("completed") == (record["status"] == "completed"), f"{cell}: {outcomes}"
            assert (self.directory / cell / "attempts.jsonl").exists(), cell
            names = [path.name for path in (self.directory / cell).iterdir()]
            leftovers = [name for name in names if name.startswith(".") or name == "lock"]
            assert not leftovers or "died" in outcomes, f"{cell}: {leftovers}"
            if record["status"] == "completed":
                assert self.epochs(cell) == list(range(1, record["config"]["recipe"]["epochs"] + 1)), cell
            else:
                assert record["reason"], cell

    def describe(self) -> str:
        """For an error message."""
        lines = [f"queue: {self.queue()}"]
        for cell, record in self.records().items():
            state = (record["status"], record["reason"]) if record else "no record"
            lines.append(f"{cell}: {state} {self.outcomes(cell)}")
        for log in sorted(self.directory.glob(".launch/submissions/*/*.log")):
            lines += [f"== {log.parent.name}/{log.name}", *log.read_text(errors="replace").splitlines()[-15:]]
        return "\n".join(lines)
