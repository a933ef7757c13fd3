import json
import os
import subprocess
import sys

import pytest

from analysis.record import UnreadableRecordError, read_record, write_record
from analysis.records import read_metrics, read_records, read_speed

from .record_tree import cell_record, speed_row, train_record, write_cell


def test_a_record_comes_back_as_it_was_written(tmp_path):
    record = train_record("halo", top1=97.5)
    path = write_cell(tmp_path, record)
    assert read_record(path) == record


def test_every_column_is_read_from_its_place(tmp_path):
    record = train_record("halo", top1=97.5, params=4_389_672, seed=3)
    path = write_cell(tmp_path, record)
    (row,) = read_records(tmp_path).to_dict("records")
    expected = {
        "cell": record["cell"],
        "name": "halo-micro-train-seed3",
        "sweep": "digits",
        "task": "train",
        "status": "completed",
        "network": "unified",
        "mixer": "halo",
        "scale": "micro",
        "data": "digits",
        "resolution": 32,
        "num_classes": 10,
        "recipe": "short",
        "precision": "fp32",
        "seed": 3,
        "params": 4_389_672,
        "macs": 16_000_000,
        "top1_percent": 97.5,
        "best_top1_percent": 97.6,
        "fingerprint": "aaaa1111",
        "seconds": 60.0,
        "path": str(path),
    }
    assert {name: row[name] for name in expected} == expected
    assert json.loads(row["config"]) == record["config"]


def test_only_the_asked_sweep_is_read(tmp_path):
    write_cell(tmp_path, train_record("halo", top1=97.5))
    write_cell(tmp_path, train_record("sra", top1=96.5, sweep="other"))
    assert list(read_records(tmp_path, sweep="other")["mixer"]) == ["sra"]
    assert len(read_records(tmp_path)) == 2


def test_four_mixers_are_named_together(tmp_path):
    mixers = ["halo", "halo", "sra", "sra"]
    write_cell(tmp_path, cell_record("complexity", None, network={"name": "unified", "mixers": mixers}))
    assert list(read_records(tmp_path)["mixer"]) == ["halo+halo+sra+sra"]


def test_keys_of_a_later_version_do_no_harm(tmp_path):
    record = train_record("halo", top1=97.5)
    record["results"]["calibration_error"] = 0.02
    write_cell(tmp_path, record | {"carbon_grams": 3})
    assert list(read_records(tmp_path)["top1_percent"]) == [97.5]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"schema": 1, "cell": "abc", "sta', "half-written or damaged"),
        (b"", "half-written or damaged"),
        (b"\x00" * 64, "half-written or damaged"),
        (b"\xff\xfe\x00", "half-written or damaged"),
        (b"[1, 2]", "not a record of schema 1"),
        (b'{"schema": 2, "cell": "abc", "status": "completed"}', "not a record of schema 1"),
        (b'{"schema": 1, "cell": "abc", "status": "splendid"}', "not a record of schema 1"),
    ],
)
def test_a_bad_file_is_named_and_counted_and_the_others_are_read(tmp_path, caplog, content, why):
    caplog.set_level("INFO")
    write_cell(tmp_path, train_record("halo", top1=97.5))
    bad = tmp_path / "digits" / "sra-1" / "record.json"
    bad.parent.mkdir()
    bad.write_bytes(content)
    records = read_records(tmp_path)
    assert list(records["mixer"]) == ["halo"]
    assert records.attrs["unreadable"] == [f"{bad}: {why}"]
    assert caplog.messages == [f"1 unreadable records left out: {bad}: {why}"]
    with pytest.raises(UnreadableRecordError, match="sra-1"):
        read_record(bad)


def test_no_records_are_an_empty_table_with_all_columns(tmp_path):
    records = read_records(tmp_path / "nowhere")
    assert records.empty
    assert {"mixer", "top1_percent", "config"} <= set(records.columns)
    assert read_speed(records).empty
    assert read_metrics(records).empty


def test_wildcards_in_a_path_are_letters(tmp_path):
    write_cell(tmp_path / "runs[1]*", train_record("halo", top1=97.5), curve=[50.0])
    records = read_records(tmp_path / "runs[1]*")
    assert list(records["mixer"]) == ["halo"]
    assert list(read_metrics(records)["top1_percent"]) == [50.0]


def test_thousands_of_records_are_read(tmp_path):
    record = train_record("halo", top1=97.5)
    text = json.dumps(record)
    for index in range(2000):
        path = tmp_path / "many" / f"cell-{index}" / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(text.replace(record["cell"], f"{index:012x}"))
    records = read_records(tmp_path)
    assert records["cell"].nunique() == 2000
    assert records["top1_percent"].eq(97.5).all()


def test_what_is_not_finite_is_an_empty_cell(tmp_path):
    write_cell(tmp_path, train_record("halo", top1=float("nan")))
    (path,) = tmp_path.rglob("record.json")
    assert read_record(path)["results"]["top1_percent"] is None
    assert read_records(tmp_path)["top1_percent"].isna().all()


def test_a_failing_write_leaves_the_old_record_and_nothing_else(tmp_path, monkeypatch):
    path = write_cell(tmp_path, train_record("halo", top1=97.5))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_record(path, train_record("halo", top1=1.0))
    assert read_record(path)["results"]["top1_percent"] == 97.5
    assert [file.name for file in path.parent.iterdir()] == ["record.json"]


def test_a_reader_never_sees_half_a_record(tmp_path):
    """A writer in another process rewrites a record of 2 MB while this one reads it."""
    path = tmp_path / "record.json"
    record = train_record("halo", top1=97.5) | {"details": {"filler": "x" * 2_000_000}}
    write_record(path, record)
    program = (
        "import json, pathlib, sys; from analysis.record import read_record, write_record\n"
        "path = pathlib.Path(sys.argv[1]); record = read_record(path)\n"
        "for _ in range(30): write_record(path, record)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)])
    reads = 0
    while writer.poll() is None:
        assert len(read_record(path)["details"]["filler"]) == 2_000_000
        reads += 1
    assert writer.returncode == 0
    assert reads > 0


def test_speed_rows_keep_their_conditions(tmp_path):
    rows = [
        speed_row(images_per_second=400.0),
        {"mode": "training", "compiled": True, "batch_size": 256, "resolution": 32, "status": "out_of_memory"},
    ]
    write_cell(tmp_path, cell_record("speed", "halo", rows=rows))
    records = read_records(tmp_path)
    first, second = read_speed(records).to_dict("records")
    assert (first["record"], first["mode"], first["batch_size"], first["latency_ms"]) == (0, "inference", 8, 20.0)
    assert first["compiled"] is False
    assert (second["status"], second["compiled"], second["batch_size"]) == ("out_of_memory", True, 256)
    assert second["latency_ms"] != second["latency_ms"]  # not measured: NaN


def test_metrics_are_read_up_to_the_last_whole_line(tmp_path):
    path = write_cell(tmp_path, train_record("halo", top1=97.5), curve=[50.0, 80.0, 97.5])
    metrics_file = path.with_name("metrics.jsonl")
    metrics_file.write_text(metrics_file.read_text() + '{"epoch": 4, "top1_pe')
    write_cell(tmp_path, train_record("sra", top1=96.5))  # without metrics
    records = read_records(tmp_path)
    metrics = read_metrics(records)
    assert list(metrics["epoch"]) == [1, 2, 3]
    assert list(metrics["top1_percent"]) == [50.0, 80.0, 97.5]
    assert set(records["mixer"][metrics["record"]]) == {"halo"}
