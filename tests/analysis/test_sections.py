"""Under which conditions the observations of a section were made."""

import pandas as pd

from analysis.sections import by_conditions

DIGITS = {"scale": "micro", "data": "digits", "resolution": 32, "precision": "fp32", "recipe": None}
SAID = "micro, digits, 32×32, fp32"


def test_settings_are_said_where_they_are_not_the_same_for_all():
    by_default, given = DIGITS | {"settings": None}, DIGITS | {"settings": '{"steps": 3}'}
    for alike in (by_default, given):
        assert [said for said, _ in by_conditions(pd.DataFrame([alike, alike]))] == [SAID]
    both = dict(by_conditions(pd.DataFrame([by_default, given, given])))
    assert {said: len(group) for said, group in both.items()} == {SAID: 1, f"{SAID}, steps=3": 2}
