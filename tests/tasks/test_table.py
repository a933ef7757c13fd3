"""`task=table` as a command."""

from tasks import TASKS
from tasks.table import TableSettings
from tests.analysis.record_tree import train_record, write_cell


def test_the_margin_is_in_the_text_and_must_be_positive(tmp_path, capsys):
    for mixer in ("halo", "sra"):
        for seed in (0, 1, 2):
            write_cell(tmp_path, train_record(mixer, 90 + 0.01 * seed, seed=seed))
    assert TASKS["table"].run(tmp_path, None, TableSettings(margin=0.25)) == 0
    assert "≈ within 0.25 points of the best" in " ".join(capsys.readouterr().out.split())
    page = (tmp_path / "tables" / "comparison.md").read_text(encoding="utf-8")
    assert page.count("equivalent within 0.25 points") == 2
    assert TASKS["table"].run(tmp_path, None, TableSettings(margin=0.0)) == 2
    assert capsys.readouterr().err == "task.margin=0.0: must be positive, in percentage points\n"
