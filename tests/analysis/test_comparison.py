"""Which records make a row, and what may be said of its accuracy."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis.comparison import NoRecordsError, compare
from analysis.comparison.identity import budget_rule as recorded_rule
from analysis.report.charts import charts
from architectures.budget import budget_rule
from mixers import MIXERS

from .contrasts.tables import all_right_but
from .record_tree import IMAGENET, RULED, SHORT, cell_record, failed, train_record, write_cell
from .tables import rows_of, written


def test_seeds_become_a_mean_with_its_spread(two_mixers):
    halo, sra, identity = rows_of(two_mixers)
    assert (halo["mixer"], halo["seeds"], halo["top1_percent"]) == ("halo", 2, 97.5)
    assert halo["top1_spread"] == pytest.approx(math.sqrt(0.5))  # of 97 and 98
    assert (halo["params"], halo["macs"]) == (4_389_672, 61_234_567)
    assert (sra["mixer"], sra["top1_percent"]) == ("sra", 90.5)
    assert (identity["mixer"], identity["seeds"], identity["control"]) == ("identity", 1, True)
    assert math.isnan(identity["top1_spread"])


def test_a_verdict_is_on_the_difference_to_the_best_of_the_others(two_mixers):
    # s² = (0.5 + 0.5) / 2 degrees of freedom, q(0.95; 3, 2)/√2 = 5.89. halo against sra, two seeds each:
    # 5.89·√0.5·√(1/2 + 1/2) = 4.17 is less than the difference of 7; against identity, of one seed, 5.10 is more.
    halo, sra, identity = rows_of(two_mixers)
    assert [row["verdict"] for row in (halo, sra, identity)] == ["unresolved", "worse", "unresolved"]
    assert halo["difference_to_best"] == pytest.approx(1.1)
    assert (sra["difference_low"], sra["difference_high"]) == (
        pytest.approx(-11.17, abs=0.01),
        pytest.approx(-2.83, abs=0.01),
    )
    assert sra["verdict_in_words"] == "worse by 2.83 to 11.17 points"
    assert {row["error_of"] for row in (halo, sra, identity)} == {"seeds"}


def test_one_seed_each_decides_nothing(tmp_path):
    write_cell(tmp_path, train_record("halo", 97.0))
    write_cell(tmp_path, train_record("sra", 90.0))
    assert [row["verdict_in_words"] for row in rows_of(tmp_path)] == 2 * ["unresolved; the seeds' spread is not known"]
    assert [row["error_of"] for row in rows_of(tmp_path)] == 2 * ["nothing"]


def test_rows_of_different_budget_rules_are_no_comparison(tmp_path):
    """halo is published, pooling matched by default: only where one rule is asked for do they compare."""
    rules = {"published": None, "params": "params", "macs": "macs", "shape": "shape"}
    for seed in (0, 1):
        for mixer, top1 in (("halo", 90.0), ("pooling", 80.0)):
            for budget in rules.values():
                network = RULED | {"budget": budget}
                write_cell(tmp_path, train_record(mixer, top1 + seed, seed=seed, network=network))
        write_cell(tmp_path, train_record("sra", 85.0 + seed, seed=seed, network=RULED | {"depths": [1, 1, 1, 1]}))
    rows = compare(tmp_path).rows
    assert {(row.mixer, row.budget, row.verdict) for row in rows.itertuples()} == {
        ("halo", "published", None),  # alone by its rule
        ("halo", "params", "better"),
        ("halo", "macs", "better"),
        ("halo", "shape", "better"),
        ("pooling", "params", "worse"),
        ("pooling", "macs", "worse"),
        ("pooling", "shape", "worse"),
        ("sra", "shape", None),  # of other depths
    }
    assert rows["published_top1_percent"].notna().sum() == 1
    assert set(rows["variant"].dropna()) == set()


def test_the_static_rule_is_that_of_the_networks():
    """Tables know it without building a network."""
    for mixer in MIXERS:
        for changes in ({}, {"budget": "macs"}, {"depths": [1, 2, 3, 1]}, {"dims": [8, 16, 24, 32], "budget": "shape"}):
            network = RULED | changes
            found = budget_rule((mixer,) * 4, "micro", network["budget"], network["dims"], network["depths"])
            assert recorded_rule({"network": network, "mixer": {"name": mixer}}) == found
    for mixers in (["halo"] * 4, ["halo", "sra", "halo", "sra"]):
        config = {"network": RULED | {"mixers": mixers}, "mixer": None}
        assert recorded_rule(config) == budget_rule(mixers, "micro")
    assert recorded_rule({"network": {"name": "dwnet_tiny"}}) is None


def test_the_margin_decides_what_is_equivalent(tmp_path):
    for mixer, shift in (("halo", 0.0), ("sra", 0.1)):
        for seed in range(5):
            write_cell(tmp_path, train_record(mixer, 90.0 + shift + 0.1 * seed, seed=seed))
    for margin, verdict in ((1.0, "equivalent"), (0.05, "unresolved")):
        assert set(compare(tmp_path, margin=margin).rows["verdict"]) == {verdict}


def test_outcomes_per_image_are_part_of_the_error(tmp_path):
    for mixer, wrong in (("halo", range(4)), ("sra", range(10, 16))):
        for seed in (0, 1):
            path = write_cell(tmp_path, train_record(mixer, 100 - len(wrong), seed=seed))
            np.save(path.with_name("outcomes.npy"), all_right_but(100, wrong))
    halo, sra = rows_of(tmp_path)
    assert halo["error_of"] == "seeds and images"  # the seeds are equal, but with other images the order may be another
    assert halo["verdict"] == sra["verdict"] == "unresolved"
    path.with_name("outcomes.npy").unlink()
    assert rows_of(tmp_path)[0]["error_of"] == "nothing"


def test_a_seed_that_diverged_is_named_and_counted(tmp_path):
    for mixer, top1 in (("halo", 95.0), ("sra", 90.0), ("pooling", 85.0)):
        for seed in range(3):
            write_cell(
                tmp_path, train_record(mixer, 11.0 if (mixer, seed) == ("sra", 1) else top1 + 0.1 * seed, seed=seed)
            )
    rows = {row["mixer"]: row for row in rows_of(tmp_path)}
    assert (rows["sra"]["seeds"], rows["sra"]["attempted"], rows["sra"]["diverged"]) == (2, 3, "seed 1 (11.00)")
    assert rows["sra"]["top1_percent"] == pytest.approx(90.1)
    assert {mixer: row["verdict"] for mixer, row in rows.items()} == {
        "halo": "better",
        "sra": "worse",
        "pooling": "worse",
    }
    assert "in no verdict: sra: seed 1 (11.00)" in written(tmp_path, tmp_path / "tables")["comparison.md"].replace(
        "no mean and ", "in "
    )


def test_recipes_of_one_name_are_not_compared_with_each_other(tmp_path):
    for rate in (1e-3, 2e-3):
        for mixer in ("halo", "sra"):
            for seed, shift in enumerate((0.0, 0.1, 0.2)):
                top1 = 80 + shift + 5 * (mixer == "halo") + 1000 * rate
                write_cell(tmp_path, train_record(mixer, top1, seed=seed, recipe=SHORT | {"learning_rate": rate}))
    rows = rows_of(tmp_path)
    assert len({row["comparison"] for row in rows}) == len({row["regime"] for row in rows}) == 2
    assert [row["verdict"] for row in rows] == ["better", "worse"] * 2
    assert [chart.title for chart in charts(compare(tmp_path))].count("Top-1 against MACs") == 2


def test_networks_by_different_rules_of_their_budget_are_not_compared(tmp_path):
    for budget in ("params", "macs"):
        for seed in (0, 1):
            network = {"name": "unified", "options": {}, "mixers": None, "budget": budget}
            write_cell(tmp_path, train_record("halo", 80.0 + seed, seed=seed, network=network))
    assert [row["verdict"] for row in rows_of(tmp_path)] == [None, None]


def test_a_front_is_as_sure_as_the_verdicts(tmp_path):
    for mixer, top1, macs in (("halo", 90.0, 30), ("sra", 80.0, 20), ("dcnv3", 70.0, 25), ("pooling", 80.1, 22)):
        for seed in range(3):
            write_cell(tmp_path, train_record(mixer, top1 + 0.1 * seed, macs=macs, seed=seed))
    assert {row["mixer"]: row["front_macs"].split()[0] for row in rows_of(tmp_path)} == {
        "halo": "certainly",
        "sra": "certainly",
        "dcnv3": "not",
        "pooling": "possibly",
    }


def test_rows_are_ranked_only_where_nothing_but_the_network_differs(tmp_path):
    for seed in (0, 1):
        write_cell(tmp_path, train_record("halo", 97.0 + seed, seed=seed))
        write_cell(tmp_path, train_record("sra", 80.0 + seed, seed=seed, recipe=SHORT | {"epochs": 30}))
        write_cell(tmp_path, train_record("halo", 60.0 + seed, seed=seed, scale="tiny"))
    assert [row["verdict"] for row in rows_of(tmp_path)] == [None, None, None]


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


CODE = {"mixers": "1", "mixer": {"halo": "2", "sra": "3"}, "architectures": "4", "task": "5"}


def test_results_of_different_code_are_neither_averaged_nor_ranked_unasked(tmp_path):
    for mixer, top1, code in (("halo", 90.0, CODE), ("halo", 80.0, CODE | {"task": "6"}), ("sra", 70.0, CODE)):
        for seed in (0, 1):
            write_cell(tmp_path, train_record(mixer, top1 + seed, seed=seed, code=code, sweep=f"task {code['task']}"))
    write_cell(tmp_path, cell_record("complexity", "halo", code=CODE | {"architectures": "7"}, sweep="later"))
    apart = compare(tmp_path)
    rows = {(row["mixer"], row["top1_percent"]): row for row in apart.rows.to_dict("records") if row["task"] == "train"}
    assert [rows[key]["seeds"] for key in (("halo", 90.5), ("halo", 80.5), ("sra", 70.5))] == [2, 2, 2]
    verdicts = [rows[key]["verdict"] for key in (("halo", 90.5), ("halo", 80.5), ("sra", 70.5))]
    assert verdicts == ["better", None, "worse"]
    assert rows["halo", 90.5]["code"] == rows["sra", 70.5]["code"] != rows["halo", 80.5]["code"]
    assert rows["halo", 80.5]["variant"] == "code.task=6"
    assert len(apart.rows) == 4  # and the complexity of another architecture
    assert any("2 versions of the code (column code): each is" in note.text for note in apart.notes)
    together = compare(tmp_path, mixed_code=True)
    assert {(row["mixer"], row["seeds"]) for row in together.rows.to_dict("records")} == {("halo", 2), ("sra", 2)}
    assert any("averaged and ranked all the same" in note.text for note in together.notes)


def test_a_mixer_that_is_added_or_edited_does_not_part_the_others(tmp_path):
    """Ranked with each other, since all but the mixers is equal; not averaged where the mixer is another."""
    for seed, own in ((0, "2"), (1, "2"), (2, "other")):
        write_cell(tmp_path, train_record("halo", 90.0 + seed, seed=seed, code=CODE | {"mixer": {"halo": own}}))
        write_cell(tmp_path, train_record("sra", 70.0 + seed, seed=seed, code=CODE | {"mixer": {"sra": "3"}}))
    rows = {(row["mixer"], row["seeds"]): row for row in rows_of(tmp_path)}
    assert set(rows) == {("halo", 2), ("halo", 1), ("sra", 3)}
    assert len({row["code"] for row in rows.values()}) == 1
    assert rows["halo", 1]["verdict"] == "unresolved"  # of the other halo, that is; sra is worse than both
    assert rows["sra", 3]["verdict"] == "worse"


def test_rows_are_of_the_same_data_weights_and_options_by_content(tmp_path):
    def trained(top1: float, seed: int, mixer: dict, **contents: str) -> None:
        record = train_record("halo", top1, seed=seed, mixer=mixer)
        record["config"]["contents"] = {
            "networks": ["1"],
            "drop_path_rate": 0.0,
            "data": "2",
            "weights": None,
        } | contents
        write_cell(tmp_path, record | {"cell": f"{seed:012}"})

    trained(90.0, 0, {"name": "halo", "block_size": None})
    trained(91.0, 1, {"name": "halo", "block_size": 7})  # the default, spelt out
    trained(50.0, 2, {"name": "halo", "block_size": None}, data="of another folder")
    rows = {row["seeds"]: row for row in rows_of(tmp_path)}
    assert (rows[2]["top1_percent"], rows[1]["top1_percent"]) == (90.5, 50.0)
    assert "contents.data=of another folder" in rows[1]["variant"]
    assert rows[1]["verdict"] is None


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


def test_trainings_that_began_with_other_weights_are_different_rows(tmp_path):
    for weights, top1 in ((None, 80.0), ("official", 85.0)):
        write_cell(tmp_path, train_record("halo", top1, weights=weights))
    rows = {row["variant"]: row["top1_percent"] for row in rows_of(tmp_path)}
    assert rows == {"weights=default": 80.0, "weights=official": 85.0}


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
    later = {"sweep": "later", "finished": "2026-11-21T00:00:00+00:00"}
    write_cell(tmp_path, failed(record | later, "OSError: disk full"))
    (row,) = rows_of(tmp_path)
    assert (row["seeds"], row["sweep"], row["unfinished"]) == (1, "again, digits, later", None)


def test_cells_that_did_not_complete_are_counted_and_named(tmp_path):
    write_cell(tmp_path, train_record("halo", 97.0, seed=0))
    write_cell(tmp_path, failed(train_record("halo", 0.0, seed=1), "NonFiniteLossError: the loss became nan at step 7"))
    write_cell(tmp_path, failed(train_record("halo", 0.0, seed=2), "OutOfMemoryError: 80 GiB", "out_of_memory"))
    write_cell(tmp_path, failed(cell_record("speed", "halo"), "RuntimeError: no kernel"))
    (row,) = rows_of(tmp_path)
    assert (row["top1_percent"], row["seeds"], row["attempted"]) == (97.0, 1, 3)
    assert row["unfinished"] == "1 failed, 1 out of memory, speed failed"
    texts = written(tmp_path, tmp_path / "tables")
    assert "| 1 of 3 |" in texts["comparison.md"]
    assert (
        "`halo-micro-train-seed1`: failed. NonFiniteLossError: the loss became nan at step 7" in texts["comparison.md"]
    )


def test_nothing_to_compare_says_where_was_looked_and_what_to_do(tmp_path):
    with pytest.raises(NoRecordsError, match=r"no records to compare under .*runs for sweep digits; .*python run.py"):
        compare(tmp_path / "runs", "digits")


def test_only_damaged_records_are_named_in_the_error(tmp_path):
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(NoRecordsError, match=r"1 unreadable: .*record.json: half-written"):
        compare(tmp_path)


def test_other_tasks_do_not_disturb(two_mixers):
    before = rows_of(two_mixers)
    write_cell(two_mixers, cell_record("invariance", "halo", results={"params": 1, "top1_percent": 3.0}))
    pd.testing.assert_frame_equal(pd.DataFrame(before), pd.DataFrame(rows_of(two_mixers)))
