"""Speeds: processes are what is repeated."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from analysis.contrasts import observations, ratio


def timed(latencies):
    """By row and process: the latencies of its turns."""
    return observations(
        {"row": row, "process": process, "turn": turn, "metric": "latency_ms", "value": value}
        for (row, process), values in latencies.items()
        for turn, value in enumerate(values)
    )


def test_the_interval_is_students_over_processes():
    faster = (1.5, 1.2, 1.4)
    table = timed(
        {("ours", str(p)): [10, 11, 9] for p in range(3)}
        | {("base", str(p)): [10 * by, 11 * by, 9 * by] for p, by in enumerate(faster)}
    )
    found = ratio(table, "ours", "base")
    theirs = ttest_1samp(np.log(faster), 0).confidence_interval(0.95)
    assert found.value == pytest.approx(math.exp(np.log(faster).mean()))
    assert (found.low, found.high) == (pytest.approx(math.exp(theirs.low)), pytest.approx(math.exp(theirs.high)))
    assert found.processes == 3


def test_a_target_is_reached_by_the_lower_limit_only():
    latencies = {("ours", str(p)): [10] for p in range(5)}
    near = ratio(timed(latencies | {("base", str(p)): [12 + 0.5 * (p - 2)] for p in range(5)}), "ours", "base")
    assert near.value == pytest.approx(1.2, abs=0.01)
    assert not near.reaches(1.2)
    assert near.reaches(1.1)


def test_one_process_gives_no_interval_and_reaches_nothing():
    found = ratio(timed({("ours", "0"): [10, 10, 10], ("base", "0"): [20, 20, 20]}), "ours", "base")
    assert (found.value, found.low, found.high) == (pytest.approx(2.0), None, None)
    assert not found.reaches(1.0)
    assert found.verdict(2) == "unresolved"
    assert found.processes_needed(2) is None


def test_rows_that_never_took_turns_have_no_ratio():
    assert ratio(timed({("ours", "0"): [10.0], ("base", "1"): [20.0]}), "ours", "base") is None
    assert ratio(timed({("ours", "0"): [10.0], ("base", "0"): [math.nan]}), "ours", "base") is None


def test_what_slows_down_both_cancels():
    drift = [1.0, 3.0, 1.5]
    table = timed(
        {("ours", p): [10 * by for by in drift] for p in "01"} | {("base", p): [15 * by for by in drift] for p in "01"}
    )
    found = ratio(table, "ours", "base")
    assert (found.low, found.high) == (pytest.approx(1.5), pytest.approx(1.5))


def test_verdicts_and_how_many_processes_they_take():
    def of(ratios):
        table = timed(
            {("ours", str(p)): [1.0] for p in range(len(ratios))}
            | {("base", str(p)): [by] for p, by in enumerate(ratios)}
        )
        return ratio(table, "ours", "base")

    assert of([1.30, 1.31, 1.29]).verdict(2) == "better"
    assert of([0.80, 0.81, 0.79]).verdict(2) == "worse"
    assert of([1.001, 0.999, 1.0]).verdict(2) == "equivalent"
    wide = of([1.1, 0.9, 1.0])
    assert wide.verdict(2) == "unresolved"
    assert of([1.1, 0.9, 1.0] * 40).processes_needed(2) <= 120
    assert wide.processes_needed(2) > 3


def test_several_ratios_are_wider_together():
    table = timed({("ours", str(p)): [1.0] for p in range(5)} | {("base", str(p)): [1 + 0.01 * p] for p in range(5)})
    assert ratio(table, "ours", "base", comparisons=5).low < ratio(table, "ours", "base").low
