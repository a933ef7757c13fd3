"""Calibration against answers worked out by hand."""

import math

import numpy as np
import pytest
import torch

from analysis.calibration import (
    Scores,
    calibration_error,
    equal_mass_bins,
    equal_width_bins,
    fitted_temperature,
    in_chunks,
    scores,
)


def found(confidence, right):
    confidence = np.array(confidence)
    return Scores(confidence, np.array(right, dtype=bool), np.log(confidence), np.zeros(len(confidence)))


def drawn(images: int = 40_000, classes: int = 5):
    """Logits whose softmax is the distribution that the labels are drawn from."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(images, classes, generator=generator)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator)


def test_the_error_is_the_mean_distance_of_accuracy_from_confidence_over_bins():
    # Bins of a half: 0.2 and 0.4 with accuracy 1/2 and confidence 0.3; 0.9 with accuracy 0.
    bins = equal_width_bins(found([0.2, 0.4, 0.9], [True, False, False]), 2)
    assert [(bin.images, bin.right) for bin in bins] == [(2, 1), (1, 0)]
    assert calibration_error(bins) == pytest.approx((2 * 0.2 + 1 * 0.9) / 3)


def test_bins_are_open_below_and_closed_above():
    bins = equal_width_bins(found([0.5, 0.500001, 1.0], [True] * 3), 2)
    assert [bin.images for bin in bins] == [1, 2]


def test_bins_of_equal_mass_have_as_many_images_each():
    bins = equal_mass_bins(found([0.9, 0.1, 0.8, 0.2], [True, False, True, False]), 2)
    assert [(bin.images, bin.confidence) for bin in bins] == [(2, pytest.approx(0.15)), (2, pytest.approx(0.85))]
    assert calibration_error(bins) == pytest.approx(0.15)
    assert [bin.images for bin in equal_mass_bins(found([0.3], [True]), 15)] == [1]


def test_scores_of_one_image_by_hand():
    # Probabilities 1/2, 1/4, 1/4; the label is the second.
    logits = torch.tensor([[2.0, 1.0, 1.0]]) * math.log(2)
    (confidence, right, log_probability, brier) = (column.item() for column in scores([(logits, torch.tensor([[1]]))]))
    assert confidence == pytest.approx(1 / 2)
    assert not right
    assert log_probability == pytest.approx(math.log(1 / 4))
    assert brier == pytest.approx(1 / 4 + 9 / 16 + 1 / 16)


def test_several_right_answers_are_one_class_and_images_without_label_count_in_nothing():
    logits = torch.tensor([[2.0, 1.0, 1.0]]).repeat(2, 1) * math.log(2)
    labels = torch.tensor([[2, 1], [-1, -1]])
    several = scores([(logits, labels)])
    assert len(several.confidence) == 1
    assert several.log_probability.item() == pytest.approx(math.log(1 / 2))
    assert several.brier.item() == pytest.approx(1 / 4 + 1 / 4)
    assert not several.right.item()


def test_logits_that_are_calibrated_by_construction_have_no_error_and_temperature_1():
    logits, labels = drawn()
    of = scores([(logits, labels)])
    assert calibration_error(equal_width_bins(of, 15)) < 0.01
    assert calibration_error(equal_mass_bins(of, 15)) < 0.01
    assert fitted_temperature(lambda: [(logits, labels)]) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_a_factor_on_the_logits_is_the_temperature_that_is_found(factor):
    logits, labels = drawn(20_000)
    sharpened = factor * logits
    temperature = fitted_temperature(lambda: [(sharpened, labels)])
    assert temperature == pytest.approx(factor, rel=0.03)
    before, after = scores([(sharpened, labels)]), scores([(sharpened, labels)], temperature)
    assert calibration_error(equal_width_bins(before, 15)) > 0.05
    assert calibration_error(equal_width_bins(after, 15)) < 0.02
    assert (before.right == after.right).all()


def test_chunks_change_nothing_and_classes_that_cannot_win_take_no_part():
    logits, labels = drawn(1000)
    logits[:, 4] = -torch.inf
    labels = labels.clamp(max=3)
    whole = scores([(logits[:, :4], labels)])
    parts = scores(in_chunks(logits.numpy(), labels.numpy(), np.arange(1000), 300))
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_wilsons_interval_by_hand():
    low, high = equal_mass_bins(found([0.5] * 10, [True] * 8 + [False] * 2), 1)[0].interval()
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
