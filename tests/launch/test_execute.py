"""Whatever happens to a cell, its record says so, and the next one runs."""

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

import launch.perform
from launch import execute, nothing_failed, run_sweep
from launch.__main__ import main as look_after
from launch.lock import CellLock
from mixers.kernels import used

from .cells import make_cell


@pytest.fixture
def perform(monkeypatch):
    """Replace what tasks do by a function of the cell; returns the list of cells that were performed."""
    performed = []

    def install(action):
        def record_and_act(cell, supervision):
            performed.append(cell.name)
            return action(cell) or {"results": {"params": 1, "macs": 2, "activations": 3}}

        monkeypatch.setattr(launch.perform, "perform", record_and_act)
        return performed

    return install


def read(cell):
    return json.loads(cell.record_path.read_text())


def test_a_completed_cell_leaves_its_results_and_is_not_run_again(tmp_path, perform):
    performed = perform(lambda cell: {"results": {"top1_percent": 97.5}})
    cell = make_cell(tmp_path)
    assert execute(cell).status == "completed"
    record = read(cell)
    assert record["status"] == "completed"
    assert record["results"] == {"top1_percent": 97.5}
    assert record["cell"] == cell.id
    assert record["config"]["mixer"]["name"] == "halo"
    assert torch.__version__.startswith(record["environment"]["torch"])
    assert record["seconds"] >= 0
    again = execute(cell)
    assert again.skipped
    assert again.record["results"] == {"top1_percent": 97.5}
    assert len(performed) == 1
    assert not execute(cell, rerun=True).skipped
    assert len(performed) == 2


def test_a_failing_cell_says_why_and_the_others_go_on(tmp_path, perform):
    def action(cell):
        if cell.config["seed"] == 1:
            raise ValueError("the data set has no class 'seven'")

    performed = perform(action)
    cells = [make_cell(tmp_path, seed=seed) for seed in range(3)]
    outcomes = run_sweep(cells)
    assert [outcome.status for outcome in outcomes] == ["completed", "failed", "completed"]
    record = read(cells[1])
    assert record["reason"] == "ValueError: the data set has no class 'seven'"
    assert "in action" in record["traceback"]
    assert "the data set has no class" in (cells[1].directory / "log").read_text()
    # A failed cell is tried again by the same command, the others are not.
    run_sweep(cells)
    assert performed == [cell.name for cell in cells] + [cells[1].name]


def test_a_cell_is_not_run_with_a_mixer_file_that_was_edited_since(tmp_path):
    (tmp_path / "mine.py").write_text("")
    cell = make_cell(
        tmp_path,
        task={"name": "complexity", "rule": "macs"},
        mixer_module=str(tmp_path / "mine.py"),
        contents={"mixer_module": "0123456789ab", "drop_path_rate": 0.0},
    )
    outcome = execute(cell)
    assert outcome.status == "failed"
    assert "mine.py was edited" in outcome.record["reason"]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_out_of_memory_is_an_outcome_of_its_own(tmp_path, perform, error):
    def action(cell):
        raise error

    perform(action)
    cell = make_cell(tmp_path)
    assert execute(cell).status == "out_of_memory"
    assert read(cell)["status"] == "out_of_memory"
    # First what changes nothing else, then what changes the network.
    reason = read(cell)["reason"]
    assert 0 < reason.index("task.gradient_checkpointing=true") < reason.index("recipe.accumulation, which changes")


def test_cells_that_compute_the_same_run_once(tmp_path, perform):
    performed = perform(lambda cell: None)
    task = {"name": "complexity", "rule": "macs"}
    cells = [make_cell(tmp_path, task=task, scale=scale, seed=seed) for scale in ("micro", "tiny") for seed in (0, 1)]
    assert len(run_sweep(cells)) == 2
    assert len(performed) == 2


def test_a_cell_that_another_process_works_on_is_no_failure(tmp_path, perform, capsys):
    performed = perform(lambda cell: None)
    cells = [make_cell(tmp_path, seed=seed) for seed in range(2)]
    cells[0].directory.mkdir(parents=True)
    with CellLock(cells[0].directory):
        outcomes = run_sweep(cells)
    assert performed == [cells[1].name]
    assert nothing_failed(outcomes)
    printed = " ".join(capsys.readouterr().out.split())
    assert "2 cells: 1 at work in another process, 1 completed; nothing failed: exit status 0" in printed
    assert printed.count("Another process works on this cell") == 1


def test_a_cell_that_was_busy_is_looked_at_again_after_the_others(tmp_path, perform):
    """The other process gave up, or was killed, in the meantime."""
    cells = [make_cell(tmp_path, seed=seed) for seed in range(2)]
    cells[0].directory.mkdir(parents=True)
    with ExitStack() as other:
        other.enter_context(CellLock(cells[0].directory))
        performed = perform(lambda cell: other.close())
        outcomes = run_sweep(cells)
    assert performed == [cells[1].name, cells[0].name]
    assert [outcome.status for outcome in outcomes] == ["completed", "completed"]


def test_rows_of_a_sweep_say_what_is_swept(tmp_path, perform, capsys):
    perform(lambda cell: {"results": {"params": 10**6, "macs": 10**9, "activations": 10**6}})
    task = {"name": "complexity", "rule": "macs"}
    run_sweep([make_cell(tmp_path, task=task, mixer={"name": "shift", "distance": value}) for value in (1, 2)])
    printed = capsys.readouterr().out
    for value in (1, 2):
        assert printed.count(f"shift-micro-complexity mixer.distance={value}") == 1  # its line
        assert printed.count(f"shift mixer.distance={value}") == 1  # its row in the table


def test_ctrl_c_leaves_a_record_and_stops_the_sweep(tmp_path, perform):
    def action(cell):
        if cell.config["seed"] == 1:
            raise KeyboardInterrupt

    performed = perform(action)
    cells = [make_cell(tmp_path, seed=seed) for seed in range(3)]
    with pytest.raises(KeyboardInterrupt):
        run_sweep(cells)
    assert read(cells[1])["status"] == "preempted"
    assert not cells[2].record_path.exists()
    perform(lambda cell: None)
    assert [outcome.skipped for outcome in run_sweep(cells)] == [True, False, False]
    assert len(performed) == 4


def test_sigterm_leaves_the_status_preempted(tmp_path):
    """A real process, a real signal, as a cluster sends it."""
    code = textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        import launch.perform
        from launch import execute
        from tests.launch.cells import make_cell

        def perform(cell, supervision):
            print("started", flush=True)
            time.sleep(60)

        launch.perform.perform = perform
        execute(make_cell({str(tmp_path)!r}))
    """)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE)
    assert process.stdout.readline() == "started\n"
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert read(make_cell(tmp_path))["status"] == "preempted"


def test_status_and_resume_of_an_interrupted_sweep(tmp_path, perform, capsys):
    def action(cell):
        if cell.config["seed"] == 1:
            raise KeyboardInterrupt

    perform(action)
    cells = [make_cell(tmp_path, seed=seed) for seed in range(3)]
    with pytest.raises(KeyboardInterrupt):
        run_sweep(cells)
    assert look_after(["--output", str(tmp_path), "status", "trial"]) == 1
    printed = capsys.readouterr().out
    assert all(state in printed for state in ("completed", "preempted", "waiting"))
    performed = perform(lambda cell: None)
    performed.clear()
    assert look_after(["--output", str(tmp_path), "resume", "trial"]) == 0
    assert performed == [cells[1].name, cells[2].name]
    assert look_after(["--output", str(tmp_path), "status", "trial"]) == 0


def test_what_computed_and_what_could_not_be_built_stand_in_the_record_and_the_latter_on_the_terminal(
    tmp_path, perform, monkeypatch, capsys
):
    monkeypatch.setattr(used, "_obstacles", {})
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in run.py, without pytest's

    def action(cell):
        for operation in ("gelu", "softmax"):
            used.goes_without(operation, "cpp", "no compiler")
            used.note(operation, "reference")

    perform(action)
    environment = execute(make_cell(tmp_path)).record["environment"]
    assert environment["kernels"] == {"gelu": ["reference"], "softmax": ["reference"]}
    assert environment["missing_kernels"] == {"gelu cpp": "no compiler", "softmax cpp": "no compiler"}
    assert capsys.readouterr().err.count("no compiler") == 1


def test_looking_after_an_unknown_sweep_names_the_known_ones(tmp_path, capsys):
    make_cell(tmp_path).write_config()
    (tmp_path / "tables").mkdir()  # what task=table leaves
    assert look_after(["--output", str(tmp_path), "status", "nope"]) == 2
    assert capsys.readouterr().err.endswith("there are trial\n")


def test_the_log_of_a_cell_is_printed(tmp_path, perform, capsys):
    def action(cell):
        raise RuntimeError("boom")

    perform(action)
    execute(make_cell(tmp_path))
    assert look_after(["--output", str(tmp_path), "logs", "trial", "seed0"]) == 0
    assert "boom" in capsys.readouterr().out
    assert look_after(["--output", str(tmp_path), "logs", "trial", "seed9"]) == 2
