"""The command that submits: killed, run twice, refused, or without a controller. No cell is lost or run twice."""

import os
import shutil
import stat
from collections import Counter
from pathlib import Path

import pytest

from .configuration import Features
from .conftest import running_cluster
from .sweeps import TrialSweep

KILLS_ITS_DRIVER = """\
#!/bin/bash
# Stands in for sbatch: hands over what it gets, or not, and then kills the program that called it.
{before}
parent=$PPID
while ! grep --quiet run.py /proc/$parent/cmdline; do read -r _ _ _ parent _ < /proc/$parent/stat; done
kill -KILL $parent
"""


def start_with_deadly_sbatch(sweep, folder: Path, before: str, *overrides: str) -> None:
    folder.mkdir()
    script = folder / "sbatch"
    script.write_text(KILLS_ITS_DRIVER.format(before=before))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    command = ["env", f"PATH={folder}{os.pathsep}{sweep.cluster.environment['PATH']}", *sweep.run_command(*overrides)]
    sweep.call(command, status=-9)


def test_the_driver_is_killed_after_slurm_took_the_array(sweep, tmp_path):
    start_with_deadly_sbatch(
        sweep, tmp_path / "bin", f'{shutil.which("sbatch")} "$@"', "mixer.variant=0,1", "mixer.seconds=1"
    )
    assert len(sweep.queue()) == 2
    # What Slurm has is found by its name, so nothing is submitted again, neither now nor later.
    sweep.call(sweep.launch_command("resume"))
    assert len(sweep.queue()) == 2
    sweep.wait_until_over()
    sweep.check(completed=2)
    sweep.check_jobs(COMPLETED=2)


def test_the_driver_is_killed_before_slurm_took_the_array(sweep, tmp_path):
    start_with_deadly_sbatch(sweep, tmp_path / "bin", "", "mixer.variant=0,1", "platform.cells_per_job=2")
    assert not sweep.queue()
    sweep.call(sweep.launch_command("resume"))
    sweep.wait_until_over()
    sweep.check(completed=2)
    sweep.check_jobs(COMPLETED=1)


def test_two_people_resume_at_once(sweep):
    sweep.submit("mixer.variant=0,1", "mixer.seconds=1", "platform.cells_per_job=2", "+platform.sbatch.hold=true")
    sweep.call(sweep.launch_command("cancel"))
    sweep.wait_until_over()
    resumes = [sweep.start(sweep.launch_command("resume", "platform.sbatch={}")) for _ in range(3)]
    printed = [process.communicate(timeout=300)[0] for process in resumes]
    assert 0 in [process.returncode for process in resumes], printed
    assert len(sweep.queue()) == 1, printed
    sweep.wait_until_over()
    sweep.check(completed=2)


def test_cancelled_cells_are_told_from_failed_ones_and_resumed(sweep):
    sweep.submit("mixer.variant=0,1,2", "mixer.seconds=0.5", "recipe.epochs=8", "platform.parallel=2")
    sweep.wait("two jobs", lambda: sweep.statuses()["running"] == 2, seconds=120)
    [first, second] = [cell for cell, record in sweep.records().items() if record]
    sweep.call(sweep.launch_command("cancel", first))
    by_slurm = [job for job in sweep.running() if job != sweep_job(sweep, first)]
    sweep.cluster.run("scancel", by_slurm[0])
    sweep.wait("the third cell", lambda: sweep.statuses()["completed"] == 1)
    sweep.wait_until_over()
    states = {cell["cell"]: cell["state"] for cell in sweep.status()["cells"]}
    assert states[first] == states[second] == "cancelled", sweep.describe()
    sweep.call(sweep.launch_command("resume"))
    assert len(sweep.queue()) == 2
    sweep.wait_until_over()
    sweep.check(completed=3)
    assert sweep.outcomes(first) == sweep.outcomes(second) == ["preempted", "completed"]


def sweep_job(sweep, cell: str) -> str:
    [job] = [entry["job"] for entry in sweep.status()["cells"] if entry["cell"] == cell]
    return job


def test_without_a_controller_nothing_is_half_submitted(sweep):
    sweep.cluster.stop_controller()
    printed = sweep.call(sweep.run_command("mixer.variant=0,1", "platform.cells_per_job=2"), status=1)
    assert "Traceback" not in printed
    assert "controller" in printed.lower()
    sweep.cluster.start_controller()
    sweep.call(sweep.launch_command("resume"))
    sweep.wait_until_over()
    sweep.check(completed=2)


def test_what_sbatch_refuses_is_said_and_can_be_resumed_elsewhere(sweep):
    printed = sweep.call(sweep.run_command("mixer.variant=0", "platform.partition=nonexistent"), status=1)
    assert "invalid partition" in printed.lower()
    assert "Traceback" not in printed
    sweep.call(sweep.launch_command("resume", "platform.partition=main"))
    sweep.wait_until_over()
    sweep.check(completed=1)


def test_edits_after_the_submission_change_nothing(sweep, tmp_path):
    module = tmp_path / "my_mixer.py"
    module.write_text((Path(__file__).with_name("trial_mixer.py")).read_text())
    sweep.submit(f"mixer_module={module}", "+platform.sbatch.hold=true")
    module.write_text("raise RuntimeError('edited meanwhile')")
    [cell] = sweep.cells()
    [job] = [job["job"] for job in sweep.queue()]
    sweep.cluster.run("scontrol", "release", job)
    sweep.wait_until_over()
    sweep.check(completed=1)
    environment = sweep.record(cell)["environment"]
    assert len(environment["commit"]) == 40


@pytest.mark.parametrize("cells_per_job", [1, 2])
def test_arrays_are_split_where_the_cluster_allows_only_small_ones(cells_per_job, images, tmp_path):
    features = Features(accounting=False, options={"MaxArraySize": "5"})
    with running_cluster("small-arrays", features=features) as cluster:
        sweep = TrialSweep(cluster, tmp_path, images)
        printed = sweep.submit(
            *("mixer.variant=range(0,11)", "mixer.fault=error_in_tenth", "platform.parallel=3"),
            f"platform.cells_per_job={cells_per_job}",
        )
        assert printed.count("array") >= (3 if cells_per_job == 1 else 2)
        sweep.wait("running jobs", lambda: len(sweep.running()) > 0)
        assert len(sweep.running()) <= 3
        status = sweep.status()
        assert len(status["cells"]) == 11
        sweep.wait_until_over()
        sweep.check(completed=9, failed=2)
        # There is no accounting, but the controller remembers for a while.
        states = Counter(cluster.run("squeue", "--noheader", "--array", "--states=all", "--format=%T").split())
        assert states["FAILED"] == 2


def test_without_accounting_status_says_what_it_cannot_know(cluster_without_accounting, images, tmp_path):
    sweep = TrialSweep(cluster_without_accounting, tmp_path, images)
    sweep.submit("mixer.seconds=0.5", "recipe.epochs=20")
    sweep.wait("the cell", lambda: sweep.statuses()["running"] == 1)
    [job] = sweep.running()
    sweep.cluster.run("scancel", "--full", "--signal=KILL", job)
    sweep.wait_until_over()
    printed = sweep.call(sweep.launch_command("status"), status=1)
    assert "accounts are not known" in printed
    assert "storage is disabled" in printed
    # The queue does not have the job, which is enough to know that the cell can be run again.
    sweep.call(sweep.launch_command("resume"))
    sweep.wait_until_over()
    sweep.check(completed=1)
