"""`platform=local`: several processes on this machine, each of which takes the next job when it has finished one.

A job is the same as on a cluster: its cells run in a process of their own, from frozen code and configuration; a cell
whose process is killed is tried again. Ctrl-C lets every cell save; the same command continues.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from analysis.record import read_record

from .cell import Cell
from .execute import Outcome, finished_record
from .forecast import forecast
from .interruption import interruptible
from .job import Job
from .names import names_of
from .place import current_place
from .settings import LocalSettings
from .snapshot import freeze
from .submission import Submission, Sweep, now, pack
from .summary import print_results
from .sweep import describe, plural, summary


def print_plan(sweep: Sweep, cells: Sequence[Cell], settings: LocalSettings, rerun: bool, console: Console) -> None:
    """What would be run, and what that may cost."""
    gpus = visible_gpus()
    known = forecast(sweep, cells, settings, set(), rerun, gpus=len(gpus))
    console.print(known.table())
    processes = plural(settings.processes or max(1, len(gpus)), "process")
    for line in (known.counts(), f"at once    {processes}, {plural(len(gpus), 'GPU')}", known.cost()):
        console.print(line, highlight=False, soft_wrap=True)


def run_local(
    sweep: Sweep, cells: Sequence[Cell], settings: LocalSettings, rerun: bool, console: Console
) -> list[Outcome]:
    """Run `cells`, which are all of `sweep`, and return how each ended.

    Raises:
        Preempted, KeyboardInterrupt: asked to stop; every cell at work has saved.
        LaunchError: no cell can be started.
    """
    with sweep.lock():
        records = {cell.directory: None if rerun else finished_record(cell) for cell in cells}
        done = [cell for cell in cells if records[cell.directory] is not None]
        wanted = [cell for cell in cells if records[cell.directory] is None]
        submission = Submission(
            name=sweep.new_submission_name(),
            jobs=pack([cell.directory.name for cell in wanted], settings.cells_per_job),
            platform=asdict(settings),
            code=freeze(sweep, wanted),
            working_directory=os.getcwd(),
            submitted=now(),
            rerun=rerun,
        )
        submission.write(sweep.submission_folder(submission.name))
    names = names_of(cells)
    by_name = {cell.directory.name: cell for cell in wanted}
    outcomes = [Outcome(cell, records[cell.directory], skipped=True) for cell in done]
    for outcome in outcomes:
        console.print(f"{escape(names[outcome.cell.directory])}  {describe(outcome)}", highlight=False)
    machine = _Machine(sweep, submission, settings)
    with interruptible(), ThreadPoolExecutor(machine.processes) as pool:
        futures = {pool.submit(machine.run, index): job for index, job in enumerate(submission.jobs)}
        try:
            for future in as_completed(futures):
                future.result()
                for name in futures[future]:
                    outcome = Outcome(by_name[name], read_record(by_name[name].record_path))
                    outcomes.append(outcome)
                    position = f"[dim]{len(outcomes):>{len(str(len(cells)))}}/{len(cells)}[/dim]"
                    console.print(
                        f"{position} {escape(names[outcome.cell.directory])}  {describe(outcome)}", highlight=False
                    )
        except BaseException:
            console.print(f"stopping: {machine.processes} processes save their work", highlight=False)
            machine.stop()
            raise
    print_results(outcomes, console)
    console.print(summary(outcomes), highlight=False)
    return outcomes


class _Machine:
    """Runs the jobs of a submission, as many at once as `processes`."""

    def __init__(self, sweep: Sweep, submission: Submission, settings: LocalSettings) -> None:
        self.sweep, self.submission, self.settings = sweep, submission, settings
        self.gpus = visible_gpus()
        self.processes = settings.processes or max(1, len(self.gpus))
        self._free = list(range(self.processes))
        self._guard = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._stopped = False

    def run(self, index: int) -> None:
        """One job, on the GPU that is free."""
        with self._guard:
            if self._stopped:
                return
            slot = self._free.pop(0)
        try:
            folder = self.sweep.submission_folder(self.submission.name)
            with open(folder / f"{index}.log", "ab") as log:
                job = Job(
                    name=f"{self.submission.name}/{index}",
                    sweep=self.sweep,
                    cells=self.submission.jobs[index],
                    node=current_place()["node"],
                    start=lambda arguments: self._start(arguments, self._environment(slot), log.fileno()),
                    log=Path(log.name),
                    retries=self.settings.retries,
                    rerun=self.submission.rerun,
                    may_move=False,
                )
                self._jobs[index] = job
                job.run()
        finally:
            with self._guard:
                self._free.append(slot)

    def stop(self) -> None:
        with self._guard:
            self._stopped = True
        for job in list(self._jobs.values()):
            job.stop()

    def _start(self, arguments: Sequence[str], environment: Mapping[str, str], log: int) -> subprocess.Popen:
        command = [sys.executable, "-P", "-m", "launch.worker", *arguments]
        # A session of its own, so that Ctrl-C reaches this process only, which then asks the others to save.
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def _environment(self, slot: int) -> dict[str, str]:
        paths = [self.submission.code, *([os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else [])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[slot % len(self.gpus)]
        # Processes that all use every core are in each other's way.
        threads = max(1, len(os.sched_getaffinity(0)) // self.processes)
        return environment if "OMP_NUM_THREADS" in environment else environment | {"OMP_NUM_THREADS": str(threads)}


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may be set to, one GPU each. Importing torch to find out would take seconds."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [gpu for gpu in given.split(",") if gpu and gpu != "-1"]
    if shutil.which("nvidia-smi") is None:
        return []
    listing = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=60)
    return [str(number) for number, line in enumerate(listing.stdout.splitlines()) if line.startswith("GPU ")]
