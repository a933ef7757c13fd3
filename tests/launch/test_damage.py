"""Damaged files of a sweep: looking after it says which, in one sentence, and stops at none that it need not."""

import pytest

from analysis.record import write_record
from launch.__main__ import main
from launch.cell import Cell, DamagedCellError
from launch.execute import finished_record, opening_record

from .cells import make_cell

GARBAGE = [b"", b"\x00\xff\xfe", b"a: [1, 2\nb: }", b"[1, 2]", b'{"schema": 1, "status": "comple']


@pytest.fixture
def cell(tmp_path):
    """Completed, one of two of its sweep."""
    for seed in (0, 1):
        made = make_cell(tmp_path, seed=seed)
        made.write_config()
        write_record(made.record_path, opening_record(made) | {"status": "completed", "finished": None})
        (made.directory / "metrics.jsonl").write_text('{"epoch": 1}\n')
    return made


def look(cell, capsys, *command):
    """Exit status and what was said; a traceback would be an exception here."""
    output, sweep = cell.directory.parent.parent, cell.directory.parent.name
    status = main(["--output", str(output), command[0], sweep, *command[1:]])
    printed = capsys.readouterr()
    return status, " ".join((printed.out + printed.err).split())


@pytest.mark.parametrize("content", GARBAGE)
def test_a_damaged_record_is_run_again(cell, capsys, content):
    cell.record_path.write_bytes(content)
    assert finished_record(cell) is None
    status, said = look(cell, capsys, "status")
    assert status == 1
    assert "1 completed" in said


@pytest.mark.parametrize("content", GARBAGE)
def test_a_damaged_configuration_is_named(cell, capsys, content):
    cell.record_path.unlink()
    (cell.directory / "config.yaml").write_bytes(content)
    with pytest.raises(DamagedCellError, match=r"config\.yaml is damaged \(.*give the sweep's own command again"):
        Cell.read(cell.directory)
    assert look(cell, capsys, "status")[0] == 1
    status, said = look(cell, capsys, "resume")
    assert status == 1
    assert "config.yaml is damaged" in said


@pytest.mark.parametrize("content", GARBAGE)
def test_damaged_metrics_are_left_out(cell, capsys, content):
    write_record(cell.record_path, opening_record(cell) | {"status": "failed", "reason": "why"})
    (cell.directory / "metrics.jsonl").write_bytes(content)
    status, said = look(cell, capsys, "status")
    assert status == 1
    assert "why" in said


@pytest.mark.parametrize("content", GARBAGE)
def test_a_damaged_submission_is_named(cell, capsys, content):
    folder = cell.directory.parent / ".launch" / "submissions" / "trial-0"
    folder.mkdir(parents=True)
    (folder / "submission.json").write_bytes(content)
    status, said = look(cell, capsys, "status")
    assert status == 1
    assert "submission.json is damaged" in said


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("platform.hours=[1", "not understood"),
        ("platform.nodes=two", "platform=here has no key nodes"),
        ("seed=1", "only"),
    ],
)
def test_settings_to_resume_with_are_checked(cell, capsys, given, expected):
    cell.record_path.unlink()
    status, said = look(cell, capsys, "resume", given)
    assert status == 1
    assert expected in said
