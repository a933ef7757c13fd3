"""How each cell stands, from records and Slurm together: one call of each command, and none where none is needed."""

import json
import os
import subprocess
import sys
import time

import pytest

from analysis.record import write_record
from launch.__main__ import main as look_after
from launch.execute import opening_record
from launch.lock import CellLock
from launch.slurm.cells import submit_cells
from launch.standing import standings
from launch.submission import Sweep
from tests.launch.cells import make_cell


@pytest.fixture
def sweep(tmp_path):
    return Sweep(tmp_path / "trial")


@pytest.fixture
def cells(slurm, sweep, platform, settings, tmp_path):
    """Six submitted cells, two a job."""
    cells = [make_cell(tmp_path, platform=platform(), seed=seed) for seed in range(6)]
    submit_cells(sweep, cells, settings(cells_per_job=2), rerun=False)
    return cells


def record(cell, status, **changes):
    write_record(cell.record_path, opening_record(cell) | {"status": status} | changes)


def queue(slurm, sweep, *jobs):
    name = sweep.submissions()[0].name
    slurm.answer(
        "squeue", "".join(f"1|{index}|{name}|{state}|{reason}|{node}|1:00\n" for index, state, reason, node in jobs)
    )


def account(slurm, sweep, *jobs):
    name = sweep.submissions()[0].name
    slurm.answer("sacct", "".join(f"1_{index}|{name}|{state}|{code}|n1\n" for index, state, code in jobs))


def states(sweep):
    found, _ = standings(sweep)
    by_seed = {sweep.cell(standing.name).config["seed"]: standing for standing in found}
    return [by_seed[seed] for seed in sorted(by_seed)]


def test_cells_in_the_queue(slurm, sweep, cells):
    record(cells[0], "completed")
    record(cells[1], "running")
    queue(slurm, sweep, (0, "RUNNING", "None", "n0"), (1, "RUNNING", "None", "n1"), (2, "PENDING", "Resources", ""))
    with CellLock(cells[1].directory):
        found = states(sweep)
    assert [standing.state for standing in found] == [
        "completed",
        "running",
        "starting",
        "starting",
        "pending",
        "pending",
    ]
    assert found[1].node == "n0"
    assert found[4].reason == "Resources"
    assert len(slurm.calls("sacct")) == 0  # nothing is missing


def test_cells_whose_jobs_are_gone(slurm, sweep, cells):
    record(cells[0], "failed", reason="ValueError: no")
    record(cells[1], "running")
    record(cells[2], "preempted")
    queue(slurm, sweep)
    account(slurm, sweep, (0, "NODE_FAIL", "1:0"), (1, "TIMEOUT", "0:15"), (2, "CANCELLED by 1000", "0:0"))
    slurm.folder.joinpath("calls").unlink()
    found = states(sweep)
    assert [standing.state for standing in found] == ["failed", "lost", "preempted", "lost", "cancelled", "cancelled"]
    assert found[0].reason == "ValueError: no"
    assert "NODE_FAIL" in found[1].reason
    assert "TIMEOUT" in found[2].reason
    assert (len(slurm.calls("squeue")), len(slurm.calls("sacct"))) == (1, 1)


def test_a_requeued_job_waits_again_with_what_it_has_completed(slurm, sweep, cells):
    record(cells[0], "completed")
    record(cells[1], "preempted")
    queue(slurm, sweep, (0, "PENDING", "BeginTime", ""), (1, "COMPLETING", "None", "n1"))
    account(slurm, sweep, (2, "COMPLETED", "0:0"))
    found = states(sweep)
    assert [standing.state for standing in found[:3]] == ["completed", "pending", "running"]
    assert found[1].reason == "again, BeginTime"


def test_a_failed_cell_that_is_tried_again_is_not_shown_as_failed(slurm, sweep, cells):
    record(cells[0], "failed", started="2020-01-01T00:00:00+00:00")
    queue(slurm, sweep, (0, "PENDING", "Priority", ""))
    assert states(sweep)[0].state == "pending"


def test_without_accounting_it_says_so(slurm, sweep, cells):
    record(cells[0], "running")
    queue(slurm, sweep)
    slurm.fail("sacct", "Slurm accounting storage is disabled\n")
    found, [problem] = standings(sweep)
    assert {standing.state for standing in found} == {"lost"}
    assert "Slurm accounting storage is disabled" in problem


def test_without_slurm_the_records_speak(slurm, sweep, cells, capsys):
    record(cells[0], "completed")
    record(cells[1], "running")
    slurm.fail("squeue", "Unable to contact slurm controller\n")
    with CellLock(cells[1].directory):
        found = states(sweep)
        assert [standing.state for standing in found[:2]] == ["completed", "running"]
        assert look_after(["--output", str(sweep.folder.parent), "status", "trial"]) == 1
    assert "Unable to contact slurm controller" in " ".join(capsys.readouterr().out.split())


def test_a_sweep_that_is_completed_needs_no_slurm(slurm, sweep, cells):
    for cell in cells:
        record(cell, "completed")
    slurm.folder.joinpath("calls").unlink()
    assert {standing.state for standing in states(sweep)} == {"completed"}
    assert slurm.calls("squeue") == slurm.calls("sacct") == []


def test_progress_of_a_training(slurm, sweep, cells):
    record(cells[0], "running", config=cells[0].config | {"recipe": {"epochs": 10, "batch_size": 8}})
    metrics = [{"epoch": 1, "top1_percent": 60.0}, {"epoch": 2, "top1_percent": 50.0}]
    timings = [
        {"epoch": epoch, "train_seconds": 4.0, "validation_seconds": 1.0, "images_per_second": 30.0} for epoch in (1, 2)
    ]
    for name, rows in (("metrics", metrics), ("timings", timings)):
        (cells[0].directory / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    queue(slurm, sweep, (0, "RUNNING", "None", "n0"))
    with CellLock(cells[0].directory, beat_seconds=0.05) as lock:
        assert states(sweep)[0].progress == {
            "epoch": 2,
            "epochs": 10,
            "best_top1_percent": 60.0,
            "images_per_second": 30.0,
            "seconds_left": 40.0,
        }
        lock.progress = {"epoch": 3, "epochs": 10, "step": 50, "steps": 200, "images_per_second": 100.0}
        time.sleep(0.3)
        now = states(sweep)[0].progress
    assert (now["epoch"], now["images_per_second"]) == (3, 100.0)
    assert now["seconds_left"] == 8 * 1.0 + 150 * 8 / 100.0


def test_the_table_for_programs(slurm, sweep, cells, capsys):
    record(cells[0], "completed", results={"best_top1_percent": 90.0, "epochs": 1})
    assert look_after(["--output", str(sweep.folder.parent), "status", "trial", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["counts"] == {"completed": 1, "pending": 5}
    assert document["cells"][0]["job"].startswith("1_")
    assert {cell["state"] for cell in document["cells"]} == {"completed", "pending"}


def test_cells_are_cancelled_by_job(slurm, sweep, cells, capsys):
    waiting = sweep.launch_folder / "backlog" / "rest.json"
    waiting.parent.mkdir(exist_ok=True)
    waiting.write_text("{}")
    assert look_after(["--output", str(sweep.folder.parent), "cancel", "trial", cells[2].id]) == 0
    assert slurm.calls("scancel") == ["1_1"]
    assert "2 cells cancelled" in capsys.readouterr().out
    assert waiting.exists()  # of other cells
    look_after(["--output", str(sweep.folder.parent), "cancel", "trial"])
    assert slurm.calls("scancel")[1:] == ["1_0 1_1 1_2"]
    assert not waiting.exists()


def test_resume_takes_other_settings_of_the_platform_and_nothing_else(slurm, sweep, cells, capsys):
    queue(slurm, sweep)
    root = ["--output", str(sweep.folder.parent), "resume", "trial"]
    assert look_after([*root, "platform.partition=low", "platform.hours=2"]) == 0
    assert "#SBATCH --partition=low" in slurm.scripts()[1]
    assert "#SBATCH --time=120" in slurm.scripts()[1]
    assert look_after([*root, "seed=1"]) == 1
    assert look_after([*root, "platform.houres=1"]) == 1
    assert "houres" in capsys.readouterr().err


def test_logs_of_every_job_that_had_the_cell(slurm, sweep, cells, capsys):
    [submission] = sweep.submissions()
    (sweep.submission_folder(submission.name) / "1.log").write_text("srun: error\n")
    (cells[2].directory / "log").write_text("epoch 1\n")
    assert look_after(["--output", str(sweep.folder.parent), "logs", "trial", cells[2].id]) == 0
    printed = capsys.readouterr().out
    assert printed.index("srun: error") < printed.index("epoch 1")


def test_a_sweep_of_thousands_is_summed_up(tmp_path, capsys):
    """The table of a large sweep shows what needs somebody; reading does not parse what is completed."""
    cell = make_cell(tmp_path)
    record(cell, "completed")
    text = cell.record_path.read_text()
    for number in range(2000):
        folder = tmp_path / "trial" / f"halo-{number:012x}"
        os.mkdir(folder)
        (folder / "config.yaml").touch()
        (folder / "record.json").write_text(text.replace('"completed"', '"failed"') if number == 1234 else text)
    cell.write_config()
    look_after(["--output", str(tmp_path), "status", "trial"])
    printed = capsys.readouterr().out
    assert "2,001 cells: 2,000 completed, 1 failed" in printed
    assert printed.index(f"{1234:012x}") < printed.index("cells are not shown")


def test_looking_after_a_sweep_imports_no_torch():
    modules = "launch.__main__, launch.status, launch.resume, launch.slurm.cells, launch.slurm.batch, launch.local"
    subprocess.run([sys.executable, "-c", f"import sys, {modules}; assert 'torch' not in sys.modules"], check=True)
