"""The published numbers are complete, sourced and read as printed."""

import csv
import subprocess
import sys
from decimal import Decimal

import pytest

from analysis.published import COLUMNS, QUANTITIES, PublishedNumber, load_published
from analysis.published.tables import FOLDER, KEY


@pytest.fixture(scope="module")
def published():
    return load_published()


@pytest.mark.parametrize(
    ("text", "value", "precision"),
    [
        ("24M", "24e6", "1e6"),
        ("3.8G", "3.8e9", "1e8"),
        ("13.0G", "13e9", "1e8"),
        ("81.2", "81.2", "0.1"),
        ("77.12", "77.12", "0.01"),
        ("730G", "730e9", "1e9"),
    ],
)
def test_a_number_keeps_its_value_and_the_worth_of_its_last_digit(text, value, precision):
    number = PublishedNumber.parse(text)
    assert number.value == Decimal(value)
    assert number.precision == Decimal(precision)


def test_an_approximate_number_has_no_precision_and_cannot_be_compared():
    number = PublishedNumber.parse("~4.5M")
    assert (number.value, number.precision) == (Decimal(4_500_000), None)
    with pytest.raises(ValueError, match="approximate"):
        number.digits_from(4_500_000)


@pytest.mark.parametrize("text", ["", "-", "24 M", "24m", "1,000", "3.G", "-3", "24MM"])
def test_a_cell_that_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="not a published number"):
        PublishedNumber.parse(text)


@pytest.mark.parametrize(
    ("text", "measured", "digits"),
    [
        ("3.8G", 3_771_000_000, "rounded"),
        ("3.8G", 3_800_000_000, "rounded"),
        ("3.8G", 3_842_000_000, "rounded"),
        ("3.8G", 3_850_000_000, "rounded"),  # a tie may go either way
        ("3.8G", 3_750_000_000, "rounded"),
        ("3.8G", 3_899_999_999, "truncated"),
        ("3.8G", 3_900_000_000, None),
        ("3.8G", 3_742_100_000, "rounded up"),
        ("3.8G", 3_700_000_001, "rounded up"),
        ("3.8G", 3_700_000_000, None),
        ("5.8M", 5_888_992, "truncated"),
        ("24M", 24_172_744, "rounded"),
    ],
)
def test_digits_are_rounded_truncated_or_rounded_up(text, measured, digits):
    assert PublishedNumber.parse(text).digits_from(measured) == digits


# How many numbers each source prints; a lost or doubled line of a file changes a count.
NUMBERS_PER_TABLE = {
    "stm_imagenet": 40,
    "stm_imagenet_hidden": 60,
    "stm_coco": 40,
    "dwnet_imagenet": 12,
    "dwnet_coco": 16,
    "dwnet_ade20k": 12,
    "contnet_imagenet": 48,
    "contnet_coco": 36,
    "contnet_coco_fcos_f2a570c": 12,
    "contnet_coco_fcos_9141b21": 12,
    "contnet_cityscapes_instances": 16,
    "contnet_cityscapes_semantic": 2,
    "conformer_imagenet": 9,
    "conformer_coco": 10,
    "conformer_coco_update": 8,
}


def test_every_table_is_there_with_all_its_numbers(published):
    assert published.groupby("table", sort=False).size().to_dict() == NUMBERS_PER_TABLE
    files = {path.stem for path in FOLDER.glob("*.csv")} - {"tables", "disagreements"}
    assert files == set(NUMBERS_PER_TABLE)


def test_no_row_prints_nothing(published):
    """A line whose numbers were all left empty would otherwise vanish without a word."""
    for table in NUMBERS_PER_TABLE:
        with (FOLDER / f"{table}.csv").open(newline="") as file:
            names = {row["network"] for row in csv.DictReader(file)}
        assert names == set(published.loc[published["table"] == table, "network"])


def test_every_number_has_a_source_and_a_place(published):
    assert list(published.columns) == list(COLUMNS)
    for column in ("network", "published_name", "task", "dataset", "source"):
        assert (published[column].str.strip() != "").all(), column
    assert published["source"].str.fullmatch(r"[\w.-]+/[\w.-]+ [0-9a-f]{7}, \S+, .+").all()
    assert set(published["task"]) == {"classification", "detection", "segmentation"}
    assert set(published["standing"]) == {"current", "superseded", "hidden"}
    assert set(published["quantity"]) == set(QUANTITIES)
    assert not published.duplicated(KEY).any()


def test_values_are_plausible_for_their_quantity(published):
    """Catches a figure in the wrong column or with the wrong unit."""
    share = published["quantity"].str.endswith(("_percent", "_ap", "_small", "_medium", "_large"))
    assert published.loc[share, "value"].between(10, 100).all()
    assert (published.loc[share, "unit"] == "").all()
    assert published.loc[published["quantity"].isin(["params", "params_budget"]), "value"].between(4e6, 3e8).all()
    assert (published.loc[published["quantity"] == "macs", "unit"] == "G").all()


def test_macs_of_classification_name_their_rule_and_nothing_else_does(published):
    macs = published["quantity"] == "macs"
    classification = published["task"] == "classification"
    assert (published.loc[macs & classification, "counting_rule"] != "").all()
    assert (published.loc[~(macs & classification), "counting_rule"] == "").all()


def test_the_hidden_table_repeats_the_swin_rows(published):
    hidden = published[published["table"] == "stm_imagenet_hidden"]
    rows = hidden.pivot(index="network", columns="quantity", values="published")
    rows["scale"] = rows.index.str.rsplit("_", n=1).str[-1]
    assert len(rows) == 20
    assert len(rows.drop_duplicates()) == 4


def test_the_fcos_rows_changed_twice(published):
    fcos = published[(published["method"] == "FCOS") & (published["quantity"] == "box_ap")]
    history = fcos.pivot(index="table", columns="network", values="published")
    history = history.loc[["contnet_coco_fcos_f2a570c", "contnet_coco_fcos_9141b21", "contnet_coco"]]
    assert history["resnet50"].tolist() == ["36.6", "38.7", "38.7"]
    assert history["contnet_medium"].tolist() == ["39.3", "39.3", "40.8"]


@pytest.fixture
def small_folder(tmp_path):
    with (FOLDER / "tables.csv").open() as file:
        header = next(file)
    (tmp_path / "tables.csv").write_text(header + "one,me/mine,0000000,README.md,Results,current,classification,X,,,\n")
    return tmp_path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("network,published_name,top1,note\nresnet50,R50,77.1,\n", "unknown columns"),
        ("network,published_name,top1_percent,note\nresnet50,R50,77.1\n", "3 cells where the header has 4"),
        ("network,published_name,top1_percent,note\nresnet50,R50,77.1%,\n", "not a published number"),
        ("network,published_name,top1_percent,note\nresnet50,R50,77.1,\nresnet50,R50,77.2,\n", "published twice"),
    ],
)
def test_a_damaged_file_is_refused(small_folder, content, message):
    (small_folder / "one.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        load_published(small_folder)


def test_loading_needs_no_torch():
    command = "import sys, analysis.published as p; p.load_published(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
