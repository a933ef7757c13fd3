"""One odd record neither stops the tables nor stands in them: it is named once, with what is wrong."""

import json

import pytest
from rich.console import Console

from analysis.comparison import compare
from analysis.record import UnreadableRecordError, read_record
from analysis.record_check import what_is_wrong
from analysis.table import print_comparison, write_tables

from .record_tree import cell_record, speed_row, train_record, write_cell


def changed(record, place, value):
    """A copy of `record` with `value` at the dotted `place`."""
    record = json.loads(json.dumps(record))
    *parents, last = [int(part) if part.isdecimal() else part for part in place.split(".")]
    node = record
    for part in parents:
        node = node[part]
    node[last] = value
    return record


@pytest.mark.parametrize(
    "record",
    [
        train_record("halo", 97.5),
        train_record("halo", 97.5) | {"status": "running", "results": {}, "finished": None, "seconds": None},
        cell_record("speed", "halo", rows=[speed_row(), {"mode": "training", "status": "out_of_memory"}]),
        cell_record("complexity", None, network={"name": "resnet18"}, mixer=None, scale=None),
        train_record("halo", 97.5) | {"a_later_key": [1, None, "x"]},
    ],
)
def test_what_is_recorded_is_right(record):
    assert what_is_wrong(record) is None


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("rows", [1, 2, "x"], "rows[0]=1 is not an object"),
        ("rows", [None], "rows[0] is empty"),
        ("rows", [{"mode": "training"}], "it has no rows[0].status"),
        ("rows", [speed_row() | {"images_per_second": -1.0}], "rows[0].images_per_second=-1.0 must be above 0"),
        ("results.macs", 0, "results.macs=0 must be at least 1"),
        ("results.params", -5, "results.params=-5 must be at least 1"),
        ("results.params", 1.5, "results.params=1.5 is not a whole number"),
        ("results.top1_percent", 1e308, "results.top1_percent=1e+308 must be at least 0 and at most 100"),
        ("results.top1_percent", 100.01, "results.top1_percent=100.01 must be at least 0 and at most 100"),
        ("results.ema_top1_percent", "97", "results.ema_top1_percent='97' is not a number"),
        ("results.top1_percent", True, "results.top1_percent=True is not a number"),
        ("results.validation_loss", float("inf"), "results.validation_loss=inf must be finite"),
        ("results.calibration_error", float("nan"), "results.calibration_error=nan must be finite"),
        ("results", [], "results=[] is not an object"),
        ("config", None, "it has no config"),
        ("config.network", {"name": None}, "it has no config.network.name"),
        ("config.data.resolution", "32", "config.data.resolution='32' is not a number"),
        ("config.recipe", "short", "config.recipe='short' is not an object"),
        ("sweep", None, "it has no sweep"),
        ("started", "yesterday", "started='yesterday' is not a time as ISO 8601"),
        ("environment.fingerprint", 7, "environment.fingerprint=7 is not text"),
    ],
)
def test_what_cannot_be_is_named(place, value, expected):
    found = what_is_wrong(changed(train_record("halo", 97.5), place, value))
    assert found is not None
    assert expected in found


def test_a_table_leaves_odd_records_out_and_names_each_once(tmp_path, capsys):
    write_cell(tmp_path, train_record("halo", 97.5))
    odd = {"sra": ("results.top1_percent", 1e308), "pooling": ("results.macs", 0), "dcnv3": ("rows", [1, 2, "x"])}
    paths = [write_cell(tmp_path, changed(train_record(name, 96.0), *at)) for name, at in odd.items()]
    comparison = compare(tmp_path)
    print_comparison(comparison, Console())
    write_tables(comparison, tmp_path / "tables")
    table = (tmp_path / "tables" / "comparison.csv").read_text()
    assert "halo" in table
    assert not any(name in table for name in odd)
    printed = capsys.readouterr().out.replace("\n", "")
    assert "3 unreadable records left out" in printed
    assert all(printed.count(str(path)) == 1 for path in paths)
    for path in paths:
        with pytest.raises(UnreadableRecordError, match=path.parent.name):
            read_record(path)
