"""Speeds in a comparison: of the same conditions and environment, or not beside each other."""

import math

import pytest

from analysis.comparison import SpeedEnvironmentError, compare

from .record_tree import ENVIRONMENT, cell_record, speed_row, train_record, write_cell
from .tables import markdown_tables, printed, rows_of, written


def test_speed_stands_beside_the_training_of_the_same_network(two_mixers):
    halo, sra, identity = rows_of(two_mixers)
    assert halo["inference_images_per_second"] == 400.0
    assert halo["inference_latency_ms"] == 20.0
    assert (halo["training_images_per_second"], halo["training_peak_memory_mib"]) == (125.0, 777.7)
    assert halo["speed_environment"] == "aaaa1111"
    assert sra["training_status"] == "out_of_memory"
    assert math.isnan(sra["training_images_per_second"])
    assert math.isnan(identity["inference_images_per_second"])
    assert identity["inference_status"] is None


def test_all_speeds_of_a_column_are_of_the_same_conditions(tmp_path):
    """Most networks were measured at batch 8; the one at batch 256 only gets no number in that column."""
    for mixer, batch_sizes in (("halo", (8, 64)), ("sra", (8,)), ("pooling", (256,))):
        rows = [speed_row(batch_size=size, images_per_second=100.0 * size) for size in batch_sizes]
        write_cell(tmp_path, cell_record("speed", mixer, rows=rows))
    comparison = compare(tmp_path)
    shown = dict(zip(comparison.rows["mixer"], comparison.rows["inference_images_per_second"], strict=True))
    assert shown["halo"] == 800.0
    assert shown["sra"] == 800.0
    assert math.isnan(shown["pooling"])
    assert len(comparison.speed) == 4
    assert any("batch 8 (inference)" in note.short for note in comparison.notes)


@pytest.mark.parametrize(
    ("preferred", "other"),
    [
        ({"compiled": False, "batch_size": 1}, {"compiled": True, "batch_size": 64}),
        ({"precision": "fp32", "batch_size": 1}, {"precision": "bf16", "batch_size": 64}),
        ({"batch_size": 64}, {"batch_size": 8}),
    ],
    ids=["eager", "fp32", "the larger batch"],
)
def test_of_conditions_with_as_many_networks_one_is_preferred(tmp_path, preferred, other):
    rows = [speed_row(images_per_second=100.0, **preferred), speed_row(images_per_second=200.0, **other)]
    for mixer, of_mixer in (("halo", rows), ("sra", rows[::-1])):
        write_cell(tmp_path, cell_record("speed", mixer, rows=of_mixer))
    assert [row["inference_images_per_second"] for row in rows_of(tmp_path)] == [100.0, 100.0]


def test_another_resolution_is_another_network(tmp_path):
    write_cell(tmp_path, train_record("halo", 97.0))
    write_cell(tmp_path, cell_record("speed", "halo", rows=[speed_row(resolution=224, images_per_second=9.0)]))
    (row,) = rows_of(tmp_path)
    assert math.isnan(row["inference_images_per_second"])


def test_environments_are_named_and_not_mixed(tmp_path):
    for mixer, fingerprint in (
        ("halo", "aaaa1111"),
        ("sra", "aaaa1111"),
        ("dcnv3", "aaaa1111"),
        ("pooling", "bbbb2222"),
    ):
        environment = ENVIRONMENT | {"fingerprint": fingerprint}
        write_cell(tmp_path, cell_record("speed", mixer, rows=[speed_row()], environment=environment))
    # halo was measured on both machines: the one that measured most is shown.
    faster = cell_record("speed", "halo", rows=[speed_row(images_per_second=9000.0)], sweep="gpu")
    write_cell(tmp_path, faster | {"environment": ENVIRONMENT | {"fingerprint": "bbbb2222"}})
    with pytest.raises(SpeedEnvironmentError, match=r"aaaa1111 \(cpu: .*bbbb2222 .*task.mixed_fingerprints=true"):
        compare(tmp_path)
    chosen = compare(tmp_path, fingerprint="bbbb2222").rows.set_index("mixer")["inference_images_per_second"]
    assert chosen["halo"] == 9000.0
    assert math.isnan(chosen["sra"])
    with pytest.raises(SpeedEnvironmentError, match=r"cccc3333: .* there are aaaa1111, bbbb2222"):
        compare(tmp_path, fingerprint="cccc3333")
    comparison = compare(tmp_path, mixed_fingerprints=True)
    rows = comparison.rows.set_index("mixer")
    assert dict(rows["speed_environment"]) == {
        **dict.fromkeys(("halo", "sra", "dcnv3"), "aaaa1111"),
        "pooling": "bbbb2222",
    }
    assert rows.loc["halo", "inference_images_per_second"] == 400.0
    assert [environment["fingerprint"] for environment in comparison.environments] == ["aaaa1111", "bbbb2222"]
    assert any("2 environments (aaaa1111, bbbb2222)" in note.text for note in comparison.notes)


def test_speeds_of_another_environment_that_rank_nobody_are_no_obstacle(tmp_path):
    for mixer in ("halo", "sra"):
        write_cell(tmp_path, cell_record("speed", mixer, rows=[speed_row()]))
    elsewhere = cell_record("speed", "halo", rows=[speed_row()], environment=ENVIRONMENT | {"fingerprint": "bbbb2222"})
    write_cell(tmp_path, elsewhere | {"sweep": "gpu"})
    comparison = compare(tmp_path)
    assert set(comparison.rows["speed_environment"]) == {"aaaa1111"}
    assert len(comparison.speed) == 3


def of_candidate(mixer: str, **changes: object) -> dict:
    """A row of a network that took turns with others in one cell."""
    return speed_row(**{"candidate": mixer, "config": {"mixer": {"name": mixer}}, "subject": "network"} | changes)


def test_networks_that_took_turns_are_rows_of_their_own(tmp_path):
    rows = [
        of_candidate("halo", params=4_000_000, macs=60_000_000),
        of_candidate("sra", images_per_second=800.0, params=3_000_000, macs=50_000_000)
        | {"speedup": 2.0, "speedup_low": 1.9, "speedup_high": 2.1, "speedup_over": "halo"},
    ]
    write_cell(tmp_path, cell_record("speed", None, rows=rows))
    halo, sra = sorted(rows_of(tmp_path), key=lambda row: row["mixer"])
    assert (halo["mixer"], halo["inference_images_per_second"], halo["macs"]) == ("halo", 400.0, 60_000_000)
    assert (sra["mixer"], sra["inference_images_per_second"], sra["params"]) == ("sra", 800.0, 3_000_000)
    text = written(tmp_path, tmp_path / "tables")["comparison.md"]
    assert markdown_tables(text)[1][1]["times as fast"] == "2.00 \\[1.90, 2.10\\] × halo"
    assert compare(tmp_path).counts == {"completed": 1}


def test_a_baseline_is_among_the_speeds_only(tmp_path):
    network = {"network": {"name": "unified_halo_tiny", "baseline": True}, "mixer": None, "scale": None}
    rows = [speed_row(config=network, candidate="baseline"), of_candidate("halo", candidate="ours")]
    write_cell(tmp_path, cell_record("speed", "halo", rows=rows))
    (row,) = rows_of(tmp_path)
    assert row["mixer"] == "halo"
    assert set(compare(tmp_path).speed["network"]) == {"unified_halo_tiny (baseline)", "unified"}


def lone_mixer(mixer: str, resolution: int, latency_ms: float, **changes: object) -> dict:
    row = of_candidate(mixer, subject="mixer", dim=96, resolution=resolution, images_per_second=8000 / latency_ms)
    return row | {"latency_ms": latency_ms, "gmacs_per_second": 40.0, "gb_per_second": 5.0} | changes


def test_mixers_alone_are_among_the_speeds_and_no_networks(tmp_path):
    rows = [lone_mixer("halo", 14, 8.0), lone_mixer("halo", 28, 40.0, columns=14)]
    record = cell_record("speed", "halo", rows=rows, scale=None)
    record["config"]["subject"] = "mixer"
    write_cell(tmp_path, record)
    comparison = compare(tmp_path)
    assert comparison.rows.empty
    assert any("forward and backward" in note.text for note in comparison.notes)
    texts = written(tmp_path, tmp_path / "tables")
    [table] = markdown_tables(texts["comparison.md"])
    assert [(row["resolution"], row["columns"]) for row in table] == [("14", ""), ("28", "14")]
    assert {(row["rate (GMAC/s)"], row["traffic (GB/s)"]) for row in table} == {("40.0", "5.0")}
    assert "halo" in printed(tmp_path)


def test_a_noisy_speed_has_a_sign_that_a_note_explains(tmp_path):
    write_cell(tmp_path, cell_record("speed", "halo", rows=[speed_row(latency_iqr_ms=0.5, iqr_percent=2.5)]))
    assert "†" not in written(tmp_path, tmp_path / "tables")["comparison.md"]
    noisy = speed_row(latency_iqr_ms=0.7, iqr_percent=3.5)
    write_cell(tmp_path, cell_record("speed", "sra", rows=[noisy]))
    texts = written(tmp_path, tmp_path / "tables")
    halo, sra = sorted(markdown_tables(texts["comparison.md"])[0], key=lambda row: row["mixer"])
    assert halo["inference (images/s)"] == "400"
    assert sra["inference (images/s)"] == "400 †"
    assert sra["inference latency (ms)"] == "20.0 ± 0.7 †"
    assert "above 3 % of the median" in texts["comparison.md"]
    assert r"400 $\dagger$" in texts["comparison.tex"]


def test_the_latest_of_repeated_measurements_is_shown(tmp_path):
    for sweep, finished, speed in (("late", "2026-11-21T00:00:00", 900.0), ("early", "2026-11-19T00:00:00", 100.0)):
        record = cell_record("speed", "halo", rows=[speed_row(images_per_second=speed)], sweep=sweep)
        write_cell(tmp_path, record | {"finished": finished})
    (row,) = rows_of(tmp_path)
    assert row["inference_images_per_second"] == 900.0
