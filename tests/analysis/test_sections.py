"""Under which conditions the observations of a section were made."""

import io
from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console

from analysis.comparison import compare
from analysis.metrics import percent
from analysis.sections import by_conditions
from analysis.table import print_comparison
from tests.analysis.record_tree import cell_record, write_cell

DIGITS = {"scale": "micro", "data": "digits", "resolution": 32, "precision": "fp32", "recipe": None}
SAID = "micro, digits, 32×32, fp32"


def test_settings_are_said_where_they_are_not_the_same_for_all():
    by_default, given = DIGITS | {"settings": None}, DIGITS | {"settings": '{"steps": 3}'}
    for alike in (by_default, given):
        assert [said for said, _ in by_conditions(pd.DataFrame([alike, alike]))] == [SAID]
    both = dict(by_conditions(pd.DataFrame([by_default, given, given])))
    assert {said: len(group) for said, group in both.items()} == {SAID: 1, f"{SAID}, steps=3": 2}


class Asked:
    """An analysis with more numbers than a narrow terminal has room for."""

    title, says, settings = "What was asked", "Twelve numbers.", SimpleNamespace
    metrics = tuple(percent(f"number_{place}_percent", f"number {place}") for place in range(12))

    def charts(self, observations, look):
        return ()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_no_number_is_cut_off(is_terminal, tmp_path):
    """A narrow terminal goes without the last ones, and says so; a file has lines as long as they need to be."""
    for seed, mixer in enumerate(("halo", "sra")):
        record = cell_record("asked", mixer, seed=seed)
        record["results"] = {metric.name: 12.345 + seed for metric in Asked.metrics}
        write_cell(tmp_path, record)
    text = io.StringIO()
    comparison = compare(tmp_path, analyses={"asked": Asked()})
    print_comparison(comparison, Console(file=text, width=80, force_terminal=is_terminal))
    printed = text.getvalue()
    assert "…" not in printed
    assert "12.3" in printed
    assert ("too narrow for number 11" in " ".join(printed.split())) == is_terminal
