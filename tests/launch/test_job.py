"""A job deals with cells that complete, fail, are killed or are asked to stop. Its workers are real processes."""

import subprocess
import sys
import textwrap
import threading
import time

import pytest

from launch import attempts
from launch.attempts import read_attempts
from launch.job import Job
from launch.submission import LaunchError, Sweep
from tests.test_layout import ROOT

from .cells import make_cell

# A worker that does with each cell what its file `fate` says, one word for each start: no torch, no network.
WORKER = textwrap.dedent("""
    import os, signal, sys, time
    from pathlib import Path
    from analysis.record import write_record
    from launch import attempts
    from launch.cell import Cell
    from launch.execute import opening_record

    folder, *cells = sys.argv[1 : sys.argv.index("--job")]
    job = sys.argv[sys.argv.index("--job") + 1]
    for name in cells:
        cell = Cell.read(Path(folder) / name)
        words = (cell.directory / "fate").read_text().split()
        (cell.directory / "fate").write_text(" ".join(words[1:]))
        attempts.begin(cell.directory, job, {"job": None, "restarts": 0, "node": "n0"})
        record = opening_record(cell)
        write_record(cell.record_path, record)
        if words[0] == "slow":
            signal.signal(signal.SIGTERM, lambda *given: (attempts.end(cell.directory, "preempted"), sys.exit(75)))
            (cell.directory / "at_work").touch()
            time.sleep(60)
        if words[0] == "oom":
            print("slurmstepd: error: Detected 1 oom_kill event in StepId=1.0", flush=True)
        if words[0] in ("killed", "oom"):
            os.kill(os.getpid(), signal.SIGKILL)
        write_record(cell.record_path, record | {"status": words[0], "reason": None})
        attempts.end(cell.directory, words[0])
""")


@pytest.fixture
def job(tmp_path):
    """A function that makes a job of cells with these fates; `make.cells` are theirs."""

    def make(*fates, retries=2, command=WORKER, rerun=False, name="trial-1/0"):
        make.cells = [make_cell(tmp_path, seed=seed) for seed in range(len(fates))]
        for cell, fate in zip(make.cells, fates, strict=True):
            cell.write_config()
            (cell.directory / "fate").write_text(fate)
        log = tmp_path / "0.log"
        log.touch()

        def start(arguments):
            with log.open("ab") as file:
                return subprocess.Popen([sys.executable, "-c", command, *arguments], cwd=ROOT, stdout=file, stderr=file)

        return Job(
            name=name,
            sweep=Sweep(tmp_path / "trial"),
            cells=[cell.directory.name for cell in make.cells],
            node="n0",
            start=start,
            log=log,
            retries=retries,
            rerun=rerun,
        )

    return make


def statuses(make):
    return [Sweep(cell.directory.parent).status(cell.directory.name) for cell in make.cells]


def test_a_cell_that_fails_does_not_stop_the_others(job):
    one = job("completed", "failed", "completed")
    assert one.run()
    assert statuses(job) == ["completed", "failed", "completed"]
    assert one.failed() == [job.cells[1].directory.name]


def test_a_cell_that_is_killed_is_tried_again_and_the_others_go_on(job):
    one = job("completed", "killed completed", "completed")
    assert one.run()
    assert statuses(job) == ["completed"] * 3
    assert one.failed() == []
    assert [attempt.status for attempt in read_attempts(job.cells[1].directory)] == ["died", "completed"]
    assert len(read_attempts(job.cells[0].directory)) == 1


def test_a_cell_that_dies_twice_on_a_node_goes_to_another(job):
    one = job("killed killed completed")
    assert not one.run()
    assert one.exclude == ["n0"]
    assert statuses(job) == ["running"]


def test_a_cell_that_dies_too_often_is_recorded_as_failed(job):
    one = job("killed", "completed", retries=0)
    assert one.run()
    assert statuses(job) == ["failed", "completed"]
    record = (job.cells[0].directory / "record.json").read_text()
    assert "Died 1 times without a word, on n0; last: killed on n0 (exit status -9)" in record


def test_lack_of_memory_is_an_outcome_of_its_own(job):
    assert job("oom", retries=0).run()
    assert statuses(job) == ["out_of_memory"]


def test_a_job_that_is_asked_to_stop_lets_its_cell_save_and_can_be_run_again(job):
    one = job("slow completed", "completed")
    ended = []
    thread = threading.Thread(target=lambda: ended.append(one.run()))
    thread.start()
    deadline = time.monotonic() + 30
    while not (job.cells[0].directory / "at_work").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    one.stop()
    thread.join(30)
    assert ended == [False]
    assert statuses(job) == ["running", None]
    again = job("completed", "completed")
    assert again.run()
    assert statuses(job) == ["completed", "completed"]
    assert [attempt.status for attempt in read_attempts(job.cells[0].directory)] == ["preempted", "completed"]


def test_a_cell_that_failed_is_not_run_again_when_its_job_is_requeued(job):
    job("failed").run()
    again = job("completed")
    assert again.run()
    assert statuses(job) == ["failed"]
    assert again.failed()
    # Another job of a later submission does.
    assert job("completed", name="trial-2/0").run()
    assert statuses(job) == ["completed"]


def test_completed_cells_are_run_again_only_when_asked_for(job):
    job("completed").run()
    job("failed", name="trial-2/0").run()
    assert statuses(job) == ["completed"]
    job("failed", name="trial-3/0", rerun=True).run()
    assert statuses(job) == ["failed"]


def test_a_worker_that_cannot_start_ends_the_job(job):
    with pytest.raises(LaunchError, match="no cell could be started"):
        job("completed", command="raise SystemExit(1)").run()


def test_torn_lines_and_deaths_of_long_ago_do_not_count(tmp_path):
    place = {"job": None, "restarts": 0, "node": "n0"}
    for status in ("died", "preempted", "died"):
        attempts.begin(tmp_path, "a/0", place)
        attempts.end(tmp_path, status)
    with open(tmp_path / "attempts.jsonl", "a") as file:
        file.write('{"job": "a/0", "rest\n')
    attempts.begin(tmp_path, "a/0", place)
    found = read_attempts(tmp_path)
    assert [attempt.status for attempt in found] == ["died", "preempted", "died", None]
    assert len(attempts.deaths(found)) == 2
    assert attempts.failing_nodes(attempts.deaths(found)) == ["n0"]
