"""What it takes to submit many short cells to Slurm, and how fast they then go through.

    eval "$(python -m tests.slurm start)"       # or any other Slurm
    python -m benchmarks.slurm_scale --cells 1000 --cells-per-job 1 50
    python -m tests.slurm stop

One line for each packing: jobs; seconds, CPU seconds and peak memory of the submitting command; then cells completed
per minute during `--seconds` after the submission; what is left is cancelled. A cell trains a micro network for two
steps, which takes about a second; starting Python and PyTorch comes on top, once a job. On a machine that is controller
and nodes at once, the rate is bound by its cores, so the last line says what Slurm itself does with as many jobs of
`sleep 1`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.slurm.sweeps import write_images

from .arguments import count, seconds
from .commands import measure

ROOT = Path(__file__).parents[1]


def submit_command(sweep: str, cells: int, cells_per_job: int, cpus: int) -> list[str]:
    return [
        *(sys.executable, str(ROOT / "run.py"), "-m", "platform=slurm", "platform.hours=1", f"sweep={sweep}"),
        *(f"platform.cells_per_job={cells_per_job}", f"platform.cpus_per_task={cpus}"),
        *("mixer=identity", "scale=micro", "task=train", "tracking.mode=disabled", f"seed=range(0,{cells})"),
        *("data=image_folder", "data.root=images", "data.resolution=32", "data.workers=0"),
        *("recipe=short", "recipe.epochs=1", "recipe.warmup_epochs=0", "recipe.batch_size=8"),
    ]


def squeue(*options: str) -> list[str]:
    return subprocess.check_output(["squeue", "--noheader", "--me", *options], text=True).splitlines()


def wait_until_empty() -> None:
    while squeue():
        time.sleep(1)


def completed(folder: Path, sweep: str) -> int:
    records = (folder / "runs" / sweep).glob("*/record.json")
    return sum(b'"status": "completed"' in path.read_bytes() for path in records)


def measure_submission(folder: Path, cells: int, cells_per_job: int, cpus: int, seconds: float) -> str:
    sweep = f"packed{cells_per_job}"
    submission = measure(submit_command(sweep, cells, cells_per_job, cpus), folder)
    jobs = len(squeue("--array"))
    start = time.perf_counter()
    while squeue() and time.perf_counter() - start < seconds:
        time.sleep(1)
    passed, count = time.perf_counter() - start, completed(folder, sweep)
    if squeue():
        measure([sys.executable, "-m", "launch", "cancel", sweep], folder)
    wait_until_empty()
    return (
        f"| {cells:,} | {cells_per_job} | {jobs:,} | {submission.seconds:.1f} | {submission.cpu_seconds:.1f} | "
        f"{submission.peak_mib:.0f} | {60 * count / passed:.0f} |"
    )


def measure_slurm(jobs: int, cpus: int) -> str:
    """Arrays of jobs that sleep for a second: what is left when nothing is computed."""
    start = time.perf_counter()
    options = ("--output=/dev/null", f"--array=0-{jobs - 1}", f"--cpus-per-task={cpus}", "--wrap=sleep 1")
    subprocess.check_call(["sbatch", *options], stdout=subprocess.DEVNULL)
    wait_until_empty()
    return f"Slurm itself: {60 * jobs / (time.perf_counter() - start):.0f} jobs of `sleep 1` a minute"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=count, default=1000)
    parser.add_argument("--cells-per-job", type=count, nargs="+", default=[1, 50])
    parser.add_argument("--cpus", type=count, default=4, help="CPUs of a job, so that not too many run at once")
    parser.add_argument("--seconds", type=seconds, default=60, help="how long to watch each")
    options = parser.parse_args(arguments)
    print("| cells | cells a job | jobs | s to submit | CPU s | peak MiB | cells/min |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(prefix="slurm-scale-") as folder:
        write_images(Path(folder) / "images")
        for cells_per_job in options.cells_per_job:
            line = measure_submission(Path(folder), options.cells, cells_per_job, options.cpus, options.seconds)
            print(line, flush=True)
    print(measure_slurm(options.cells, options.cpus))


if __name__ == "__main__":
    main()
