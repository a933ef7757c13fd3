"""The images' part of an accuracy's error, from outcomes per image."""

import math

import numpy as np
import pytest

from analysis.contrasts import against_best, compare_rows
from analysis.contrasts.images import images_error
from tests.analysis.contrasts.tables import all_right_but, outcomes_of, scored


def test_of_one_seed_each_the_error_is_that_of_the_paired_differences():
    # Of 100 images, 6 are wrong for a only, 2 for b only: McNemar's variance of the difference of the two accuracies.
    a, b = all_right_but(100, range(6)), all_right_but(100, (50, 51))
    covariance = images_error([[a], [b]], "top1_percent").covariance
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert variance == pytest.approx(100**2 * (0.08 - 0.04**2) / 99)


def test_what_seeds_disagree_on_is_not_counted_twice():
    generator = np.random.default_rng(0)
    # All images are alike, so that other ones would change nothing that other seeds do not change.
    rows = [[outcomes_of(generator.random(20_000) < 0.8) for _ in range(4)] for _ in range(2)]
    error = images_error(rows, "top1_percent")
    assert np.diag(error.covariance) == pytest.approx([0, 0], abs=2e-3)
    assert error.seeds_variance == pytest.approx(100**2 * 0.16 / 20_000, rel=0.02)


def test_seeds_that_are_right_equally_often_still_have_an_error():
    outcomes = {
        (row, seed): all_right_but(355, wrong)
        for row, by_seed in {"a": ([1, 2], [3, 4]), "b": ([5, 6, 7], [8, 9, 10])}.items()
        for seed, wrong in enumerate(by_seed)
    }
    table = scored({"a": [100 * 353 / 355] * 2, "b": [100 * 352 / 355] * 2})
    compared = compare_rows(table, "top1_percent", outcomes)
    assert compared.covers == "seeds and images"
    assert [each.verdict for each in against_best(compared, margin=0.1)] == ["unresolved", "unresolved"]
    assert against_best(compared, 0.5)[0].high > 0.4


def test_one_seed_each_is_compared_over_images_and_says_so():
    outcomes = {("a", 0): all_right_but(355, [0]), ("b", 0): all_right_but(355, range(200))}
    compared = compare_rows(scored({"a": [99.7], "b": [43.7]}), "top1_percent", outcomes)
    assert compared.covers == "images"
    assert [each.verdict for each in against_best(compared, 0.5)] == ["better", "worse"]


def test_where_outcomes_are_missing_the_interval_is_of_the_seeds_only():
    outcomes = {("a", 0): all_right_but(100, [0])}
    compared = compare_rows(scored({"a": [99.0, 98.0], "b": [97.0, 99.0]}), "top1_percent", outcomes)
    assert compared.covers == "seeds"


def test_identical_networks_are_equivalent_without_any_error():
    outcomes = {(row, seed): all_right_but(100, [0]) for row in "ab" for seed in (0, 1)}
    compared = compare_rows(scored({"a": [99.0, 99.0], "b": [99.0, 99.0]}), "top1_percent", outcomes)
    assert {each.verdict for each in against_best(compared, 0.5)} == {"equivalent"}


def test_images_are_matched_by_key_and_those_that_one_lacks_left_out():
    a = outcomes_of([True, False, True], images=[10, 20, 30])
    b = outcomes_of([True, True], images=[30, 20])
    error = images_error([[a], [b]], "top1_percent")
    assert error.count == 2
    assert error.covariance[1, 1] == 0
    assert error.covariance[0, 0] == pytest.approx(100**2 * 0.5 / 2)
    assert images_error([[a], [outcomes_of([True, True], images=[1, 2])]], "top1_percent") is None


def test_where_images_limit_more_of_them_are_asked_for():
    generator = np.random.default_rng(1)
    outcomes = {
        (row, seed): outcomes_of(right)
        for row, right in (("a", generator.random(200) < 0.8), ("b", generator.random(200) < 0.8))
        for seed in (0, 1)
    }
    scores = {row: [100 * outcomes[row, seed]["top1"].mean() + 0.1 * seed for seed in (0, 1)] for row in "ab"}
    [contrast, _] = against_best(compare_rows(scored(scores), "top1_percent", outcomes), margin=0.5)
    assert contrast.needed.images > 10_000
    assert not math.isnan(contrast.needed.seeds)
    assert f"{contrast.needed.images:,} images would show 0.5 points" in contrast.sentence()
