"""Reads the published tables beside this file into one tidy data frame; README.md says what the files hold."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from .number import PublishedNumber

FOLDER = Path(__file__).parent

QUANTITIES = {
    "top1_percent": "share of validation images whose first guess is right",
    "params": "parameters; of the whole detector or segmenter, heads included, outside of classification",
    "params_budget": "parameters that a scale aims at, published as approximate",
    "macs": "multiply-accumulates, also where the source calls them FLOPs; of the whole detector or segmenter likewise",
    "box_ap": "COCO-style box average precision, 0 to 100",
    "box_ap_small": "box_ap of small objects",
    "box_ap_medium": "box_ap of medium objects",
    "box_ap_large": "box_ap of large objects",
    "mask_ap": "COCO-style mask average precision, 0 to 100",
    "mask_ap_small": "mask_ap of small objects",
    "mask_ap_medium": "mask_ap of medium objects",
    "mask_ap_large": "mask_ap of large objects",
    "miou_percent": "mean intersection over union of the classes",
    "images_per_second": "images a second at inference",
}
SETTINGS = ("method", "schedule", "training")
LABELS = ("network", "published_name", "macs_rule", "note", *SETTINGS)

COLUMNS = {
    "table": "name of the CSV file that the number stands in",
    "network": "our name of the network, as timm.create_model takes it; of the backbone outside of classification",
    "published_name": "the row's name in the source",
    "task": "classification, detection or segmentation",
    "dataset": "data set, as the source names it",
    "method": "detector or segmenter; empty in classification",
    "schedule": "training schedule as the source names it; empty where it names none",
    "training": "training regime where one table mixes several; empty for the table's ordinary one",
    "quantity": "what the number is, one of QUANTITIES",
    "published": "the number as printed, unit included: 24M",
    "value": "the number in plain units: 24000000.0",
    "unit": "K, M, G or empty: the unit that it was printed in",
    "precision": "what one step of the last printed digit is worth, in plain units; NaN where published as approximate",
    "counting_rule": "rule that the published MACs follow, as analysis.complexity names it; empty for other quantities "
    "and where it is unknown",
    "standing": "current; superseded (a later version of the source says otherwise); hidden (in the source's text, but "
    "not shown to its readers)",
    "source": "repository, commit, document and heading of the table",
    "note": "contradictions and conditions known of the table and the row; may be empty",
}
KEY = ["table", "network", *SETTINGS, "quantity"]


def load_published(folder: Path = FOLDER) -> pd.DataFrame:
    """Returns every published number, one a row, in the order of the files; COLUMNS explains the columns.

    Args:
        folder: where tables.csv and the files that it names lie.

    Raises:
        ValueError: a file has an unknown column, a line of another length than its header, a cell that is no number,
            or the same number twice.
    """
    numbers = [
        number
        for table in _read_csv(folder / "tables.csv")
        for row in _read_csv(folder / f"{table['table']}.csv")
        for number in _numbers_of_row(table, row)
    ]
    frame = pd.DataFrame(numbers, columns=list(COLUMNS))
    twice = frame[frame.duplicated(KEY)]
    if not twice.empty:
        raise ValueError(f"published twice: {twice[KEY].to_dict('records')}")
    return frame


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file, strict=True)
    # A line that lost or gained a comma would shift its numbers into other columns.
    for line in lines:
        if len(line) != len(header):
            raise ValueError(f"{path.name}: {len(line)} cells where the header has {len(header)}: {line}")
    return [dict(zip(header, line, strict=True)) for line in lines]


def _numbers_of_row(table: Mapping[str, str], row: Mapping[str, str]) -> Iterator[dict[str, object]]:
    unknown = [column for column in row if column not in QUANTITIES and column not in LABELS]
    if unknown:
        raise ValueError(f"{table['table']}.csv: unknown columns {unknown}; known are {[*LABELS, *QUANTITIES]}")
    for quantity in QUANTITIES:
        published = row.get(quantity, "")
        if not published:
            continue
        number = PublishedNumber.parse(published)
        yield {
            "table": table["table"],
            "network": row["network"],
            "published_name": row["published_name"],
            "task": table["task"],
            "dataset": table["dataset"],
            **{setting: row.get(setting, "") for setting in SETTINGS},
            "quantity": quantity,
            "published": published,
            "value": float(number.value),
            "unit": published.lstrip("~0123456789."),
            "precision": float("nan") if number.precision is None else float(number.precision),
            "counting_rule": (row.get("macs_rule") or table["macs_rule"]) if quantity == "macs" else "",
            "standing": table["standing"],
            "source": f"{table['repository']} {table['commit']}, {table['document']}, {table['heading']}",
            "note": ". ".join(note for note in (table["note"], row["note"]) if note),
        }
