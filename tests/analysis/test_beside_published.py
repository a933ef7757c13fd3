"""Published numbers beside measured ones, and a difference only where both are of the same kind."""

import math

import pandas as pd
import pytest

from .record_tree import IMAGENET, cell_record, train_record, write_cell
from .tables import rows_of


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


def test_of_two_published_trainings_the_ordinary_one_is_shown(tmp_path):
    write_cell(tmp_path, train_record("halo", 76.0, data=IMAGENET))
    twice = pd.concat([HALO, HALO.assign(value=HALO["value"] + 1, training="longer")])
    for numbers in (twice, twice[::-1]):
        (row,) = rows_of(tmp_path, published=numbers)
        assert row["published_top1_percent"] == 75.8


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
    assert math.isnan(row["published_top1_percent"])


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
