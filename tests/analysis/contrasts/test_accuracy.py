"""From scores of seeds to verdicts: bounds against other implementations, and what may not be concluded."""

import math

import numpy as np
import pytest
from scipy.stats import dunnett, tukey_hsd

from analysis.contrasts import MixedCodeError, against_best, against_reference, compare_rows, observations
from analysis.contrasts.best import bounds_to_best
from analysis.contrasts.critical import of_largest
from analysis.contrasts.estimates import estimates
from analysis.contrasts.pairs import bounds_of_pairs
from tests.analysis.contrasts.tables import scored

# Spreads that are equal, so that the pooled one is every row's own and other implementations have the same.
ALIKE = [np.array(row) for row in ([80.0, 80.4, 80.8], [79.0, 79.4, 79.8], [80.1, 80.5, 80.9], [77.0, 77.4, 77.8])]


def verdicts(rows, margin=0.5):
    return {each.row: each for each in against_best(compare_rows(scored(rows), "top1_percent"), margin)}


def test_bounds_of_pairs_are_tukeys():
    low, high = bounds_of_pairs(estimates(ALIKE), 0.95)
    theirs = tukey_hsd(*ALIKE).confidence_interval(0.95)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(low[off], theirs.low[off], atol=1e-6)
    np.testing.assert_allclose(high[off], theirs.high[off], atol=1e-6)


def test_bounds_to_a_reference_are_dunnetts():
    rows = {"control": ALIKE[0], "a": ALIKE[1], "b": ALIKE[2], "c": ALIKE[3]}
    found = against_reference(compare_rows(scored(rows), "top1_percent"), "control", 0.5)
    theirs = dunnett(*ALIKE[1:], control=ALIKE[0], random_state=np.random.default_rng(0)).confidence_interval(0.95)
    assert [each.row for each in found] == ["a", "b", "c"]
    # Theirs are integrals over random points; ours give half of the error to each side.
    np.testing.assert_allclose([each.low for each in found], theirs.low, atol=0.01)
    np.testing.assert_allclose([each.high for each in found], theirs.high, atol=0.01)


@pytest.mark.parametrize(
    ("comparisons", "freedom", "published"), [(2, 20, 2.03), (3, 20, 2.19), (9, 20, 2.60), (9, 1e6, 2.42), (1, 5, 2.02)]
)
def test_critical_values_are_those_of_dunnetts_table(comparisons, freedom, published):
    assert of_largest(comparisons, freedom, 0.5, 0.95) == pytest.approx(published, abs=0.006)


def test_each_row_is_compared_with_the_best_of_the_others():
    differences, low, high = bounds_to_best(estimates(ALIKE), 0.95)
    np.testing.assert_allclose(differences, [-0.1, -1.1, 0.1, -3.1])
    pairs_low, pairs_high = bounds_of_pairs(estimates(ALIKE), 0.95)
    assert low[3] == pairs_low[3, [0, 1, 2]].min()
    assert high[3] == pairs_high[3, [0, 1, 2]].min()


def test_the_four_verdicts():
    found = verdicts({"a": [80.0, 80.2], "b": [80.1, 80.1], "c": [79.9, 80.3], "d": [70.0, 70.2]}, margin=1.0)
    assert {row: each.verdict for row, each in found.items()} == {
        "a": "equivalent",
        "b": "equivalent",
        "c": "equivalent",
        "d": "worse",
    }
    assert found["a"].sentence() == "equivalent within 1 points"
    assert found["d"].sentence().startswith("worse by 9.")
    found = verdicts({"a": [90.0, 90.2], "b": [80.1, 80.3], "c": [80.0, 80.4]})
    assert found["a"].verdict == "better"
    found = verdicts({"a": [80.0, 81.0], "b": [80.9, 81.9]})
    assert {each.verdict for each in found.values()} == {"unresolved"}


def test_a_difference_that_is_shown_is_said_also_where_it_is_less_than_the_margin():
    scores = 80 + 0.01 * np.arange(10)
    assert verdicts({"a": scores, "b": scores - 0.2}, margin=0.5)["b"].verdict == "worse"


def test_two_seeds_each_have_one_degree_of_freedom_a_row():
    found = estimates([np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([1.0, 2.0])])
    assert (found.freedom, found.variance) == (3, 0.5)


def test_rows_with_one_seed_share_the_others_spread():
    found = estimates([np.array([1.0, 2.0, 3.0]), np.array([5.0])])
    assert (found.freedom, found.variance) == (2, 1.0)
    assert found.errors()[0, 1] == pytest.approx(math.sqrt(1 / 3 + 1))


def test_a_wide_spread_stays_with_its_row():
    found = estimates([np.array([0.0, 6.0]), np.array([1.0, 1.2]), np.array([1.0, 1.2])])
    assert found.variance == pytest.approx((18 + 0.02 + 0.02) / 3)
    np.testing.assert_allclose(found.variances, [18, found.variance, found.variance])


@pytest.mark.parametrize(
    "rows",
    [
        {"a": [97.5, 97.5], "b": [96.0, 96.0]},  # ± 0.00 is no error
        {"a": [97.5], "b": [96.0]},  # one seed each
    ],
)
def test_without_any_spread_nothing_is_concluded(rows):
    compared = compare_rows(scored(rows), "top1_percent")
    assert compared.covers == "nothing"
    for contrast in against_best(compared, 0.5):
        assert (contrast.verdict, contrast.low, contrast.needed) == ("unresolved", None, None)
        assert contrast.sentence() == "unresolved; the seeds' spread is not known"


def test_one_row_is_compared_with_nothing():
    assert verdicts({"a": [97.5, 98.0]}) == {}
    assert verdicts({"a": [math.nan, math.nan], "b": [97.0, 98.0]}) == {}


def test_rows_that_are_equal_are_not_told_apart():
    found = verdicts({str(row): [80.0, 80.1, 80.2] for row in range(20)}, margin=0.5)
    assert {each.verdict for each in found.values()} == {"equivalent"}
    assert {each.difference for each in found.values()} == {0.0}


def test_seeds_that_failed_are_counted():
    compared = compare_rows(
        scored({"a": [80.0, math.nan, 80.4, math.nan, 80.1], "b": [79.0, 79.2, 79.1]}), "top1_percent"
    )
    assert compared.seeds_in_words("a") == "3 of 5 seeds"
    assert compared.seeds_in_words("b") == "3 seeds"


def test_a_seed_that_diverged_is_named_and_hides_nothing():
    good = {"a": [80.0, 80.2, 80.1], "b": [79.0, 79.2, 79.1], "c": [78.0, 78.2, 78.1]}
    compared = compare_rows(scored(good | {"c": [78.0, 31.0, 78.1]}), "top1_percent")
    assert [(each.row, each.seed, each.score) for each in compared.diverged] == [("c", 1, 31.0)]
    assert compared.seeds_in_words("c") == "2 of 3 seeds, without seed 1 (31.00), which diverged"
    assert [each.verdict for each in against_best(compared, 0.5)] == ["better", "worse", "worse"]


def test_two_seeds_that_diverged_do_not_hide_each_other():
    rows = {"a": [80.0, 80.2, 80.1, 10.0], "b": [79.0, 79.2, 9.0, 79.1], "c": [78.0, 78.2, 78.1, 78.3]}
    compared = compare_rows(scored(rows), "top1_percent")
    assert [(each.row, each.seed) for each in compared.diverged] == [("a", 3), ("b", 2)]


@pytest.mark.parametrize("learned_once", [[50.0, 100.0], [50.0, 100.0, 50.0], [50.0, 100.0, 100.0, 50.0]], ids=len)
def test_seeds_that_are_no_smaller_part_have_not_diverged(learned_once):
    """A mixer that learns now and then has the mean of that."""
    rows = {name: [90.0 + shift, 90.2 + shift, 90.1 + shift] for name, shift in (("a", 0.0), ("b", 2.0), ("c", 4.0))}
    compared = compare_rows(scored(rows | {"d": learned_once}), "top1_percent")
    assert compared.diverged == []
    mean = sum(learned_once) / len(learned_once)
    found = {each.row: each for each in against_best(compared, 0.5)}
    assert compared.estimates.means[-1] == pytest.approx(mean)
    assert found["d"].verdict == "unresolved"
    assert found["d"].difference == pytest.approx(mean - 94.1)


def test_a_bad_seed_has_not_diverged():
    rows = {"a": [80.0, 80.2, 80.1], "b": [79.0, 79.2, 78.4], "c": [78.0, 78.2, 78.1]}
    assert compare_rows(scored(rows), "top1_percent").diverged == []


def test_normal_scores_are_hardly_ever_called_diverged():
    generator = np.random.default_rng(0)
    for _ in range(100):
        compared = compare_rows(scored({str(row): generator.normal(size=3) for row in range(4)}), "top1_percent")
        assert compared.diverged == []


def test_how_many_seeds_it_would_take_shows_the_margin_four_times_in_five():
    compared = compare_rows(scored({"a": [80.0, 80.6], "b": [80.3, 80.9]}), "top1_percent")
    seeds = against_best(compared, margin=0.5)[0].needed.seeds
    assert against_best(compared, margin=0.5)[0].sentence() == f"unresolved; {seeds} seeds would show 0.5 points"
    spread = math.sqrt(compared.estimates.variance)
    generator = np.random.default_rng(0)
    shown = 0
    for _ in range(400):
        _, low, _ = bounds_to_best(estimates([spread * generator.normal(size=seeds) + at for at in (0, 0.5)]), 0.95)
        shown += low[1] > 0
    assert 0.74 < shown / 400 < 0.88


def test_different_code_is_not_compared():
    table = observations(
        [*scored({"a": [80.0]}, "1111").to_dict("records"), *scored({"b": [80.0]}, "2222").to_dict("records")]
    )
    with pytest.raises(MixedCodeError, match=r"different code \(1111, 2222\)"):
        compare_rows(table, "top1_percent")


def test_a_seed_that_was_observed_twice_is_refused():
    table = observations(2 * scored({"a": [80.0]}).to_dict("records"))
    with pytest.raises(ValueError, match="top1_percent of a was observed twice for seed 0"):
        compare_rows(table, "top1_percent")


def test_an_unknown_column_or_reference_is_named():
    with pytest.raises(ValueError, match="no columns of observations: epochs; there are row, seed"):
        observations([{"row": "a", "epochs": 3}])
    with pytest.raises(ValueError, match="reference=c: choose a row with a score, a, b"):
        against_reference(compare_rows(scored({"a": [1.0, 2.0], "b": [1.0, 2.0]}), "top1_percent"), "c", 0.5)
