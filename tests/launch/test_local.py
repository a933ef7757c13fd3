"""`platform=local`: several processes, each with a job; Ctrl-C lets them save. The workers are real processes."""

import io
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from rich.console import Console

import launch.local
from launch import dispatch
from launch.local import visible_gpus
from launch.submission import Sweep
from tests.test_layout import ROOT

from .cells import make_cell
from .test_job import WORKER

PLATFORM = {"name": "local", "processes": 2, "cells_per_job": 1, "retries": 2, "dry_run": False}


@pytest.fixture
def environments(monkeypatch):
    """Start the stand-in instead of a worker that imports torch; returns what each was started with."""
    started = []

    def start(self, arguments, environment, log):
        started.append(environment)
        command = [sys.executable, "-c", WORKER, *arguments]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    monkeypatch.setattr(launch.local._Machine, "_start", start)
    return started


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def cells(output, *fates, **changes):
    found = [make_cell(output, platform=PLATFORM | changes, seed=seed) for seed in range(len(fates))]
    for cell, fate in zip(found, fates, strict=True):
        cell.directory.mkdir(parents=True, exist_ok=True)
        (cell.directory / "fate").write_text(fate)
    return found


def test_cells_end_as_what_they_are_and_completed_ones_are_not_run_again(tmp_path, environments, console):
    fates = ("completed", "failed", "killed killed completed", "killed killed killed")
    outcomes = dispatch(cells(tmp_path, *fates), console=console)
    statuses = {outcome.cell.config["seed"]: outcome.status for outcome in outcomes}
    assert statuses == {0: "completed", 1: "failed", 2: "completed", 3: "failed"}
    assert "4/4" in console.file.getvalue()
    environments.clear()
    again = dispatch(cells(tmp_path, "x", "completed", "x", "completed"), console=console)
    assert sorted(outcome.skipped for outcome in again) == [False, False, True, True]
    assert all(outcome.status == "completed" for outcome in again)
    assert len(environments) == 2


def test_each_process_has_its_gpu_and_its_share_of_the_cores(tmp_path, environments, console, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-abc")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert visible_gpus() == ["4", "GPU-abc"]
    dispatch(cells(tmp_path, *["completed"] * 6, processes=None), console=console)
    assert {environment["CUDA_VISIBLE_DEVICES"] for environment in environments} == {"4", "GPU-abc"}
    assert int(environments[0]["OMP_NUM_THREADS"]) == max(1, len(os.sched_getaffinity(0)) // 2)


def test_ctrl_c_lets_every_process_save(tmp_path, environments, console):
    every = cells(tmp_path, "slow", "slow", "completed")

    def interrupt():
        deadline = time.monotonic() + 30
        while not all((cell.directory / "at_work").exists() for cell in every[:2]) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        dispatch(every, console=console)
    thread.join()
    assert "2 processes save their work" in console.file.getvalue()
    for cell in every[:2]:
        assert '"preempted"' in (cell.directory / "attempts.jsonl").read_text()
    assert Sweep(tmp_path / "trial").status(every[2].directory.name) is None


def test_a_folder_that_cannot_be_written_to_is_said_in_a_sentence(tmp_path, environments, console):
    (tmp_path / "trial").write_text("a file where the sweep's folder should be")
    with pytest.raises(launch.LaunchError, match="trial"):
        dispatch([make_cell(tmp_path, platform=PLATFORM)], console=console)


def test_a_plan_runs_nothing(tmp_path, environments, console):
    assert dispatch(cells(tmp_path, "x", "x", dry_run=True), console=console) is None
    assert "2 to be run" in console.file.getvalue()
    assert "2 processes" in console.file.getvalue()
    assert environments == []
