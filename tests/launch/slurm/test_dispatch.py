"""What the command line does with `platform=slurm`: a plan, a submission, or also waiting for its end."""

import io

import pytest
from rich.console import Console

import launch.slurm.dispatch
from analysis.record import write_record
from launch import dispatch
from launch.execute import opening_record
from launch.submission import Sweep
from tests.launch.cells import make_cell


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def cells(tmp_path, platform):
    return lambda count=3, **changes: [
        make_cell(tmp_path, platform=platform(**changes), seed=seed) for seed in range(count)
    ]


def record(cell, status, **changes):
    write_record(cell.record_path, opening_record(cell) | {"status": status, "reason": None, "seconds": 7.2} | changes)


def test_a_submission_returns_at_once_and_says_how_to_follow_it(slurm, cells, console, tmp_path):
    assert dispatch(cells(), console=console) is None
    printed = console.file.getvalue()
    assert "job array 1: 3 jobs, 3 cells" in printed
    assert f"python -m launch --output {tmp_path} status trial" in printed


def test_waiting_returns_how_each_cell_ended_also_the_one_that_vanished(slurm, cells, console, monkeypatch, tmp_path):
    """What a sweeper gets: a cell whose job died is a failed one."""
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        name = Sweep(tmp_path / "trial").submissions()[0].name
        if len(looks) == 1:
            record(every[0], "completed", results={"top1_percent": 90.0})
            slurm.answer("squeue", f"1|1|{name}|RUNNING|None|n0|1:00\n1|2|{name}|RUNNING|None|n0|1:00\n")
        if len(looks) == 2:
            record(every[1], "failed", reason="ValueError: no")
            record(every[2], "running")
            slurm.answer("squeue", "")
            slurm.answer("sacct", f"1_2|{name}|OUT_OF_MEMORY|0:125|n0\n")

    monkeypatch.setattr(launch.slurm.dispatch, "sleep", sleep)
    every = cells()
    outcomes = {outcome.cell.config["seed"]: outcome for outcome in dispatch(every, console=console, wait=True)}
    assert [outcomes[seed].status for seed in range(3)] == ["completed", "failed", "failed"]
    assert outcomes[0].record["results"] == {"top1_percent": 90.0}
    assert "OUT_OF_MEMORY" in outcomes[2].record["reason"]
    assert len(looks) >= launch.slurm.dispatch.LOOKS_BEFORE_GONE + 1


def test_a_plan_submits_nothing_and_knows_what_cells_like_these_took(slurm, cells, console, tmp_path):
    every = cells(5, dry_run=True, gpus_per_node=4, nodes=2, cells_per_job=2, parallel=1)
    record(every[0], "completed", seconds=1800.0, environment={"device": "NVIDIA H200"})
    assert dispatch(every, console=console) is None
    printed = console.file.getvalue()
    assert "1 completed, 4 to be run" in printed
    assert "arrays     2: 2 jobs, each of 2 cells and 8 processes, at most 1 job at once" in printed
    assert "cost       16.00 GPU-hours, measured on cells like 4 of these" in printed  # 4 cells, 8 GPUs, half an hour
    assert "#SBATCH --array=0-1%1" in printed
    assert slurm.scripts() == []
    assert sorted(path.name for path in (tmp_path / "trial").iterdir()) == [every[0].directory.name]


def test_a_plan_without_slurm_says_so(monkeypatch, cells, console):
    monkeypatch.setenv("PATH", "/nowhere")
    assert dispatch(cells(dry_run=True), console=console) is None
    assert "scontrol is not on this machine" in console.file.getvalue()


def test_cells_of_several_platforms_go_each_to_its_own(slurm, cells, console, tmp_path):
    one, other = cells(1, partition="gpu"), cells(2, partition="cpu", cells_per_job=2)
    dispatch([*one, other[1]], console=console)
    assert ["--partition=gpu" in script for script in slurm.scripts()] == [True, False]
