"""Sums in scaled integers: finer than float32, never overflowing, honest about what is not a number."""

import pytest
import torch

from mixers.kernels.dcnv3 import fixed_point


def sums_of(contributions: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """As a kernel adds them up: each is float32 times the factor, rounded to an integer."""
    return fixed_point.to_float((contributions * factor).to(torch.int64).sum(0), factor)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_all_points_of_an_image_may_meet_in_one_pixel(scale: float):
    grad = torch.full((1, 8, 8, 4), scale)
    weights = torch.ones(1, 8, 8, 2, 9)
    contributions = torch.full((8 * 8 * 9, 1), scale)
    torch.testing.assert_close(
        sums_of(contributions, fixed_point.factor_for(grad, weights)),
        torch.tensor([8 * 8 * 9 * scale]),
        rtol=1e-6,
        atol=0,
    )


def test_order_does_not_matter_and_small_contributions_count():
    generator = torch.Generator().manual_seed(0)
    grad = torch.randn(1, 16, 16, 1, generator=generator)
    weights = torch.ones(1, 16, 16, 1, 9)
    contributions = grad.flatten()[:, None] * torch.logspace(0, -6, 256)[:, None]
    factor = fixed_point.factor_for(grad, weights)
    forwards, backwards = sums_of(contributions, factor), sums_of(contributions.flip(0), factor)
    assert torch.equal(forwards, backwards)
    torch.testing.assert_close(forwards, contributions.double().sum(0).float(), rtol=1e-7, atol=0)


def test_no_gradient_at_all_gives_zeros_and_one_that_is_not_finite_shows_everywhere():
    weights = torch.ones(1, 2, 2, 1, 1)
    zeros = torch.zeros(1, 2, 2, 1)
    assert sums_of(zeros.flatten(0, 2), fixed_point.factor_for(zeros, weights)).tolist() == [0]
    for wrong in (float("nan"), float("inf")):
        grad = zeros.clone()
        grad[0, 0, 0, 0] = wrong
        assert not sums_of(grad.flatten(0, 2), fixed_point.factor_for(grad, weights)).isfinite().any()
