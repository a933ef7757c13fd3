"""A comparison in which removing the mixers changes nothing says so before anything else."""

from datetime import UTC, datetime

import pytest

from analysis.comparison import compare
from analysis.report.page import render
from analysis.table import to_markdown

from .record_tree import train_record, write_cell
from .tables import printed

SENTENCE = (
    "Removing the mixers changes next to nothing on digits at 32×32: with every mixer's output set to zero after "
    "training, halo and sra keep at least 90 % of what they are better than chance (largest change: halo, 98.87 to "
    "98.59 %). What these images ask for is seen without them, so differences between these rows say nothing about "
    "mixers."
)


def write_cells(root, scores: dict[str, tuple[float, float | None]]) -> None:
    for mixer, (top1, without) in scores.items():
        record = train_record(mixer, top1)
        if without is not None:
            record["results"]["top1_without_mixers_percent"] = without
        write_cell(root, record)


def test_it_comes_before_anything_else(tmp_path):
    """What the digits demo measured; identity, which mixes nothing, is no witness."""
    write_cells(tmp_path, {"halo": (98.87, 98.59), "sra": (98.31, 98.31), "identity": (98.03, 98.03)})
    comparison = compare(tmp_path)
    assert comparison.warnings == [SENTENCE]
    markdown = to_markdown(comparison)
    assert markdown.index(SENTENCE) < markdown.index("| mixer")
    page = render(comparison, [], now=datetime(2026, 11, 21, tzinfo=UTC))
    assert page.index('<p class="warning">Removing the mixers') < page.index('<section class="sortable"')
    terminal = printed(tmp_path, width=1000)
    assert terminal.index(SENTENCE) < terminal.index("All rows")


@pytest.mark.parametrize(
    "scores",
    [
        {"halo": (97.0, 40.0), "sra": (98.0, 30.0)},
        {"halo": (97.0, 40.0), "sra": (98.0, 30.0), "pooling": (90.0, 90.0)},
        {"halo": (97.0, None)},
        {"identity": (98.0, 98.0)},
        {"halo": (10.0, 10.0)},
    ],
    ids=["they matter", "all but one matter", "not measured", "identity alone", "nothing learned"],
)
def test_nothing_is_said_otherwise(tmp_path, scores):
    write_cells(tmp_path, scores)
    assert compare(tmp_path).warnings == []


def test_each_set_of_images_is_judged_alone(tmp_path):
    write_cells(tmp_path, {"halo": (98.0, 97.9)})
    hard = train_record("halo", 80.0, data={"name": "probe_relation", "resolution": 32, "num_classes": 2})
    hard["results"]["top1_without_mixers_percent"] = 50.0
    write_cell(tmp_path, hard)
    [warning] = compare(tmp_path).warnings
    assert "on digits at 32×32" in warning
