"""The table of a sweep fits the terminal: a line a cell, its name first, and nothing that says nothing."""

import pytest

from analysis.record import write_record
from launch.__main__ import main as look_after
from launch.execute import opening_record

from .cells import make_cell

TRAINED = {"best_top1_percent": 97.9, "epochs": 1, "train_images_per_second": 312.1}
REASON = (
    "the training loss became nan at step 4 (epoch 2, step 2 of 3); the first that is not finite is the output of norm"
)


def leave(cell, status="completed", results=TRAINED, reason=None):
    cell.write_config()
    write_record(cell.record_path, opening_record(cell) | {"status": status, "results": results, "reason": reason})


@pytest.fixture
def status(tmp_path, monkeypatch, capsys):
    """The lines that are printed on a terminal of so many columns."""

    def look(columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        look_after(["--output", str(tmp_path), "status", "trial"])
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return look


@pytest.fixture
def mixed_sweep(tmp_path):
    """Accuracies and speeds of mixers with long names, one of which failed."""
    for mixer in ("inhomogeneous_dynamic_depthwise_conv", "halo"):
        for seed in (0, 1):
            leave(make_cell(tmp_path, mixer={"name": mixer}, seed=seed))
        speed = {"name": "speed"}
        of_speed = make_cell(tmp_path, mixer={"name": mixer}, task=speed, subject="network", dim=None, resolution=None)
        leave(of_speed, results={"params": 4_389_672, "macs": 700_000_000})
    leave(make_cell(tmp_path, seed=2), "failed", {}, REASON)


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_one_line_a_cell(mixed_sweep, status, columns):
    lines = status(columns)
    assert lines[0] == "trial"
    table, below = lines[2:9], lines[9:]
    assert all(len(line) <= columns for line in lines)
    assert all(any(state in line for state in ("completed", "failed")) for line in table)
    assert len({line.split()[0] for line in table}) == 7  # names that can be told apart
    assert below[0] == "7 cells: 6 completed, 1 failed"
    assert REASON in " ".join(below) or REASON in "\n".join(table)


def test_columns_that_say_nothing_are_left_out(tmp_path, status):
    leave(make_cell(tmp_path))
    assert status(80)[1].split() == ["cell", "state", "best", "top-1", "images/s"]


def test_cells_of_one_name_say_what_differs(tmp_path, status):
    for distance in (1, 2):
        leave(make_cell(tmp_path, mixer={"name": "shift", "distance": distance}))
    lines = status(100)
    assert [line.split()[:2] for line in lines[2:4]] == [
        ["shift-micro-digits-train-seed0", f"mixer.distance={distance}"] for distance in (1, 2)
    ]
