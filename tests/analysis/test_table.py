import csv
import io
import math
import re

import pandas as pd
import pytest
from rich.console import Console

from analysis.comparison import NoRecordsError, SpeedEnvironmentError, compare
from analysis.comparison.seeds import SeedScores, standings
from analysis.table import write_tables

from .record_tree import (
    ENVIRONMENT,
    IMAGENET,
    SHORT,
    cell_record,
    failed,
    speed_row,
    train_record,
    write_cell,
)


def rows_of(root, sweep=None, published=None) -> list[dict]:
    return compare(root, sweep, published).rows.to_dict("records")


def written(root, output) -> dict[str, str]:
    paths = write_tables(root, output, console=Console(file=io.StringIO()))
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def markdown_tables(text: str) -> list[list[dict[str, str]]]:
    """Every table of a Markdown page as rows of heading -> cell."""
    tables = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block.strip().split("\n")]
        tables.append([dict(zip(lines[0], line, strict=True)) for line in lines[2:]])
    return tables


@pytest.fixture
def two_mixers(tmp_path):
    """halo and sra with two seeds each, identity with one; halo with a speed; sra's speed ran out of memory."""
    root = tmp_path / "runs"
    for seed, halo, sra in ((0, 97.0, 90.0), (1, 98.0, 91.0)):
        write_cell(root, train_record("halo", halo, params=4_389_672, macs=61_234_567, seed=seed))
        write_cell(root, train_record("sra", sra, params=3_900_000, macs=44_000_000, seed=seed))
    write_cell(root, train_record("identity", 96.4, params=3_800_000, macs=40_000_000))
    rows = [speed_row("inference", 400.0), speed_row("training", 125.0, peak_memory_mib=777.7)]
    write_cell(root, cell_record("speed", "halo", rows=rows))
    out = {"status": "out_of_memory", "images_per_second": None, "latency_ms": None, "peak_memory_mib": None}
    write_cell(root, cell_record("speed", "sra", rows=[speed_row("inference", 500.0), speed_row("training") | out]))
    return root


def test_seeds_become_a_mean_with_its_spread(two_mixers):
    halo, sra, identity = rows_of(two_mixers)
    assert (halo["mixer"], halo["seeds"], halo["top1_percent"]) == ("halo", 2, 97.5)
    assert halo["top1_spread"] == pytest.approx(math.sqrt(0.5))  # of 97 and 98
    assert (halo["params"], halo["macs"]) == (4_389_672, 61_234_567)
    assert (sra["mixer"], sra["top1_percent"]) == ("sra", 90.5)
    assert (identity["mixer"], identity["seeds"], identity["control"]) == ("identity", 1, True)
    assert math.isnan(identity["top1_spread"])


def test_standing_by_the_pooled_spread(two_mixers):
    # s² = (0.5 + 0.5) / 2 degrees of freedom, t(0.975, 2) = 4.3027. halo against sra: 4.3027·√0.5·√(1/2 + 1/2) = 3.04
    # is less than the difference of 7; against identity, of one seed: 4.3027·√0.5·√(1/2 + 1) = 3.73 is more than 1.1.
    halo, sra, identity = rows_of(two_mixers)
    assert halo["standing"] == "best"
    assert sra["standing"] is None
    assert identity["standing"] == "not distinguishable from the best"


@pytest.mark.parametrize(("difference", "expected"), [(3.0424, "not distinguishable from the best"), (3.0425, "")])
def test_the_least_significant_difference_is_the_limit(difference, expected):
    # t(0.975, 2) = 4.302653, s = √0.5, two seeds each: 3.042435.
    other = SeedScores((97.0 - difference, 98.0 - difference))
    assert standings([SeedScores((97.0, 98.0)), other]) == ["best", expected]


def test_one_seed_each_gives_no_standing():
    assert standings([SeedScores((97.0,)), SeedScores((90.0,)), SeedScores(())]) == ["", "", ""]


def test_rows_are_ranked_only_where_nothing_but_the_network_differs(tmp_path):
    for seed in (0, 1):
        write_cell(tmp_path, train_record("halo", 97.0 + seed, seed=seed))
        write_cell(tmp_path, train_record("sra", 80.0 + seed, seed=seed, recipe=SHORT | {"epochs": 30}))
        write_cell(tmp_path, train_record("halo", 60.0 + seed, seed=seed, scale="tiny"))
    assert [row["standing"] for row in rows_of(tmp_path)] == [None, None, None]


def test_different_options_are_different_rows_and_say_so(tmp_path):
    for window, top1 in ((None, 95.0), (14, 97.0)):
        mixer = {"name": "shifted_window", "window_size": window}
        write_cell(tmp_path, train_record("shifted_window", top1, mixer=mixer))
    write_cell(tmp_path, train_record("halo", 90.0))
    rows = {(row["mixer"], row["variant"]): row["top1_percent"] for row in rows_of(tmp_path)}
    assert rows == {
        ("shifted_window", "mixer.window_size=14"): 97.0,
        ("shifted_window", "mixer.window_size=default"): 95.0,
        ("halo", None): 90.0,
    }


def test_where_the_data_lies_does_not_part_seeds(tmp_path):
    for seed, root, workers in ((0, "/here", 0), (1, "/there", 8)):
        data = IMAGENET | {"root": root, "workers": workers}
        write_cell(tmp_path, train_record("halo", 80.0 + seed, seed=seed, data=data))
    (row,) = rows_of(tmp_path)
    assert row["seeds"] == 2


def test_how_the_training_was_done_does_not_part_seeds(tmp_path):
    for seed, compiled in ((0, False), (1, True)):
        record = train_record("halo", 80.0 + seed, seed=seed)
        record["config"]["task"] |= {"compile": compiled, "checkpoint_minutes": 5.0 + seed}
        write_cell(tmp_path, record)
    (row,) = rows_of(tmp_path)
    assert (row["seeds"], row["variant"]) == (2, None)


def test_evaluations_of_the_weights_and_of_their_average_are_different_rows(tmp_path):
    for average, top1 in ((False, 80.0), (True, 81.0)):
        record = cell_record("evaluate", "halo", results={"top1_percent": top1}, weights="runs/halo")
        record["config"]["task"] = {"name": "evaluate", "average": average}
        write_cell(tmp_path, record | {"cell": f"{average}"})
    assert {row["variant"]: row["top1_percent"] for row in rows_of(tmp_path)} == {
        "task.average=False": 80.0,
        "task.average=True": 81.0,
    }


def test_the_same_cell_in_two_sweeps_counts_once(tmp_path):
    record = train_record("halo", 97.0)
    write_cell(tmp_path, record)
    write_cell(tmp_path, record | {"sweep": "again"})
    write_cell(tmp_path, failed(record | {"sweep": "broken"}, "OSError: disk full"))
    (row,) = rows_of(tmp_path)
    assert (row["seeds"], row["sweep"], row["unfinished"]) == (1, "again, broken, digits", None)


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


def published(*numbers: tuple[str, str, str, float, str]) -> pd.DataFrame:
    columns = ["network", "quantity", "published", "value", "counting_rule"]
    frame = pd.DataFrame(numbers, columns=columns)
    return frame.assign(task="classification", standing="current", training="", source="somewhere")


HALO = published(
    ("unified_halo_micro", "params", "4.4M", 4.4e6, ""),
    ("unified_halo_micro", "macs", "0.87G", 0.87e9, "fvcore"),
    ("unified_halo_micro", "top1_percent", "75.8", 75.8, ""),
)


def halo_results(macs: int) -> dict:
    return {"params": 4_389_672, "macs": macs, "activations": 7_000_000}


def test_published_numbers_have_a_difference_under_the_same_conditions(tmp_path):
    write_cell(tmp_path, train_record("halo", 76.0, params=4_389_672, macs=861_000_000, data=IMAGENET))
    record = cell_record("complexity", "halo", data=IMAGENET, results=halo_results(869_000_000))
    record["config"]["task"]["rule"] = "fvcore"
    write_cell(tmp_path, record)
    (row,) = rows_of(tmp_path, published=HALO)
    assert row["macs"] == 861_000_000  # by our rule
    assert row["params_difference_percent"] == pytest.approx(100 * (4_389_672 - 4.4e6) / 4.4e6)
    assert row["macs_difference_percent"] == pytest.approx(100 * (0.869 - 0.87) / 0.87)  # by theirs
    assert row["top1_difference"] == pytest.approx(0.2)


def test_macs_counted_by_another_rule_have_no_difference(tmp_path):
    write_cell(tmp_path, cell_record("complexity", "halo", data=IMAGENET, results=halo_results(861_000_000)))
    (row,) = rows_of(tmp_path, published=HALO)
    assert (row["published_macs"], row["published_macs_rule"]) == ("0.87G", "fvcore")
    assert math.isnan(row["macs_difference_percent"])
    assert not math.isnan(row["params_difference_percent"])


def test_other_data_has_published_numbers_but_no_difference(two_mixers):
    halo = rows_of(two_mixers, published=HALO)[0]
    assert (halo["published_params"], halo["published_top1_percent"]) == ("4.4M", 75.8)
    differences = ("params_difference_percent", "macs_difference_percent", "top1_difference")
    assert all(math.isnan(halo[name]) for name in differences)


def test_a_number_of_classes_that_is_left_to_the_data_is_no_published_one(tmp_path):
    write_cell(tmp_path, train_record("halo", 80.0, data=IMAGENET | {"name": "mine", "num_classes": None}))
    (row,) = rows_of(tmp_path, published=HALO)
    assert row["published_params"] == "4.4M"
    assert math.isnan(row["params_difference_percent"])


def test_a_changed_mixer_has_no_published_numbers(tmp_path):
    mixer = {"name": "halo", "block_size": 14}
    write_cell(tmp_path, cell_record("complexity", "halo", mixer=mixer, results=halo_results(1)))
    (row,) = rows_of(tmp_path, published=HALO)
    assert row["published_top1_percent"] != row["published_top1_percent"]


def test_the_published_numbers_of_this_project_are_found_under_the_authors_names(tmp_path):
    for mixer in ("halo", "sra", "shifted_window", "depthwise_conv", "dcnv3", "pooling"):
        write_cell(tmp_path, train_record(mixer, 50.0, data=IMAGENET))
    network = {"name": "conformer_tiny_patch16", "options": {}, "mixers": None, "budget": "params"}
    write_cell(tmp_path, train_record(None, 50.0, network=network, scale=None, data=IMAGENET))
    rows = {row["mixer"] or row["network"]: row["published_top1_percent"] for row in rows_of(tmp_path)}
    assert math.isnan(rows.pop("pooling"))
    assert rows == {
        "halo": 75.8,
        "sra": 72.8,
        "shifted_window": 74.4,
        "depthwise_conv": 75.1,
        "dcnv3": 75.3,
        "conformer_tiny_patch16": 81.3,
    }


def test_cells_that_did_not_complete_are_counted_and_named(tmp_path):
    write_cell(tmp_path, train_record("halo", 97.0, seed=0))
    write_cell(tmp_path, failed(train_record("halo", 0.0, seed=1), "NonFiniteLossError: the loss became nan at step 7"))
    write_cell(tmp_path, failed(train_record("halo", 0.0, seed=2), "OutOfMemoryError: 80 GiB", "out_of_memory"))
    write_cell(tmp_path, failed(cell_record("speed", "halo"), "RuntimeError: no kernel"))
    (row,) = rows_of(tmp_path)
    assert (row["top1_percent"], row["seeds"]) == (97.0, 1)
    assert row["unfinished"] == "1 failed, 1 out of memory, speed failed"
    texts = written(tmp_path, tmp_path / "tables")
    assert (
        "`halo-micro-train-seed1`: failed. NonFiniteLossError: the loss became nan at step 7" in texts["comparison.md"]
    )


def test_a_row_whose_cells_all_failed_has_empty_numbers(tmp_path):
    write_cell(tmp_path, failed(train_record("halo", 0.0), "RuntimeError: boom"))
    ((row,),) = markdown_tables(written(tmp_path, tmp_path / "tables")["comparison.md"])
    assert row["not completed"] == "1 failed"
    assert set(row) == {"network", "mixer", "scale", "task", "data", "recipe", "resolution", "precision", "sweep"} | {
        "not completed",
        "published params",
        "published top-1 (%, ImageNet-1k)",
    }


def test_markdown(two_mixers, tmp_path):
    text = written(two_mixers, tmp_path / "tables")["comparison.md"]
    comparison, speed = markdown_tables(text)
    halo, sra, identity = comparison
    assert halo["mixer"] == "halo"
    assert halo["params (M)"] == "4.39"
    assert halo["MACs (M)"] == "61.2"
    assert halo["top-1 (%)"] == "**97.50 ± 0.71**"
    assert halo["inference (images/s)"] == "400"
    assert halo["inference latency (ms)"] == "20.0 ± 0.5"
    assert halo["training memory (MiB)"] == "778"
    assert sra["top-1 (%)"] == "90.50 ± 0.71"
    assert sra["training step (images/s)"] == "out of memory"
    assert identity["mixer"] == "*identity*"
    assert identity["top-1 (%)"] == "96.40 ≈"
    assert identity["inference (images/s)"] == ""
    assert [row["mode"] for row in speed] == ["inference", "training"] * 2
    assert "All rows: network unified, scale micro, task train, data digits, recipe short, resolution 32" in text
    assert "MACs difference" not in text  # an empty column


def test_csv_has_plain_numbers(two_mixers, tmp_path):
    text = written(two_mixers, tmp_path / "tables")["comparison.csv"]
    halo, _, identity = csv.DictReader(io.StringIO(text))
    assert (halo["mixer"], halo["params"], halo["macs"]) == ("halo", "4389672", "61234567")
    assert (halo["top1_percent"], halo["top1_spread"]) == ("97.5", "0.7071067812")
    assert (identity["inference_latency_ms"], identity["top1_spread"]) == ("", "")


def latex_rows(text: str) -> list[list[str]]:
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    return [re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in body.split("\n") if line.endswith(r"\\")]


def test_latex(two_mixers, tmp_path):
    text = written(two_mixers, tmp_path / "tables")["comparison.tex"]
    headings = text[text.index(r"\toprule") :].split("\n")[1].removesuffix(r" \\").split(" & ")
    rows = [dict(zip(headings, cells, strict=True)) for cells in latex_rows(text)]
    assert rows[0]["top-1"] == r"\textbf{97.50 $\pm$ 0.71}"
    assert rows[2]["mixer"] == r"\textit{identity}"
    assert rows[2]["top-1"] == r"96.40 $\approx$"
    (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert len(columns) == len(headings)


def test_latex_is_balanced_and_escaped(tmp_path):
    nasty = r"a_b%c&d#e$f{g}h~i^j\k<l>ü"
    write_cell(tmp_path, train_record("halo", 97.0, mixer={"name": nasty}))
    write_cell(tmp_path, train_record("halo", 95.0, mixer={"name": "other"}))
    text = written(tmp_path, tmp_path / "tables")["comparison.tex"]
    escaped = r"a\_b\%c\&d\#e\$f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k\textless{}l\textgreater{}ü"
    assert latex_rows(text)[0][0] == escaped
    depth = 0
    for character in re.sub(r"\\[{}]", "", text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
    opened = re.findall(r"\\(begin|end)\{(\w+\*?)\}", text)
    stack = []
    for kind, name in opened:
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []
    # Nothing is left that only UTF-8-aware engines with the right font print.
    assert set(text) - set(map(chr, range(128))) == {"ü"}


def test_markdown_escapes(tmp_path):
    write_cell(tmp_path, failed(train_record("a|b", 97.0, mixer={"name": "a|b*"}), "Error: <script>\nand | more"))
    text = written(tmp_path, tmp_path / "tables")["comparison.md"]
    assert r"a\|b\*" in text
    assert r"Error: \<script\> and \| more" in text


def printed(root, **console) -> str:
    file = io.StringIO()
    write_tables(root, root / "tables", console=Console(file=file, **console))
    return file.getvalue()


def test_terminal(two_mixers):
    text = printed(two_mixers, width=60)
    (halo,) = [line.split() for line in text.split("\n") if line.startswith("halo")]
    assert halo == ["halo", "97.50", "±", "0.71", "*", "2", "75.8", "4.39", "61.2", "400", "125", "778"]
    assert "…" not in text  # a file takes lines of any length
    assert "* is the best, ≈ not distinguishable from it" in text


def test_a_narrow_terminal_drops_columns_and_says_which(two_mixers):
    text = printed(two_mixers, width=64, force_terminal=True, color_system=None)
    assert "too narrow for" in text
    assert "97.50 ± 0.71" in text
    assert "…" not in text
    assert max(len(line) for line in text.split("\n")) <= 64


def test_nothing_to_compare_says_where_was_looked_and_what_to_do(tmp_path):
    with pytest.raises(NoRecordsError, match=r"no records to compare under .*runs for sweep digits; .*python run.py"):
        compare(tmp_path / "runs", "digits")


def test_only_damaged_records_are_named_in_the_error(tmp_path):
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(NoRecordsError, match=r"1 unreadable: .*record.json: half-written"):
        compare(tmp_path)


def test_damaged_records_are_noted_in_the_table(two_mixers, tmp_path):
    (two_mixers / "digits" / "record.json").write_text("{")
    texts = written(two_mixers, tmp_path / "tables")
    assert "1 unreadable records left out" in texts["comparison.md"]


def test_large_networks_are_counted_in_giga(tmp_path):
    write_cell(tmp_path, cell_record("complexity", "halo", results=halo_results(5_298_000_000)))
    ((row,),) = markdown_tables(written(tmp_path, tmp_path / "tables")["comparison.md"])
    assert row["MACs (G)"] == "5.298"
    assert "top-1 (%)" not in row
    assert "data" not in row  # the network was not trained


def test_other_tasks_do_not_disturb(two_mixers):
    before = rows_of(two_mixers)
    write_cell(two_mixers, cell_record("invariance", "halo", results={"params": 1, "top1_percent": 3.0}))
    pd.testing.assert_frame_equal(pd.DataFrame(before), pd.DataFrame(rows_of(two_mixers)))
