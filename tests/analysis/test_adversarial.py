"""Attacks on a network whose weakest direction is known, and checks that a masked gradient fails."""

import pytest
import torch
from torch import Tensor

from analysis.adversarial.attacks import fgsm, noise, pgd, projected, random_start
from analysis.adversarial.masking import failed_checks

WEIGHT = torch.tensor([3.0, -4.0, 0.0])


def linear(pixels: Tensor) -> Tensor:
    """Two classes; by hand: the margin changes by sum |w| a unit of linf, by ‖w‖ a unit of l2, of every pixel."""
    score = torch.einsum("bchw,c->b", pixels, WEIGHT) / 100
    return torch.stack([score, -score], 1)


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(batch=3, side=4):
    return 100 + 50 * torch.rand(batch, 3, side, side, generator=draws(1))


LABELS = torch.tensor([0, 1, 0])
AWAY = torch.tensor([-1.0, 1.0, -1.0])[:, None, None, None] * WEIGHT[:, None, None]


def test_one_step_goes_to_the_corner():
    torch.testing.assert_close(fgsm(linear, pictures(), LABELS, 4) - pictures(), (4 * AWAY.sign()).expand(-1, -1, 4, 4))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_many_steps_reach_the_worst_point_of_the_ball(norm):
    changes = pgd(linear, pictures(), LABELS, 8, norm, steps=20, draws=draws()) - pictures()
    if norm == "linf":
        best = (8 * AWAY.sign()).expand(-1, -1, 4, 4)
        torch.testing.assert_close(changes[:, :2], best[:, :2])
        assert changes[:, 2].abs().max() <= 8  # to which the network is blind
    else:
        best = (8 * AWAY / (4 * 5)).expand(-1, -1, 4, 4)  # ‖w‖ = 5 at each of 16 places
        assert ((changes * best).sum((1, 2, 3)) > 0.98 * 8**2).all()
        assert changes.flatten(1).norm(dim=1).max() <= 8 + 1e-3
    clean, misled = (linear(pixels).gather(1, LABELS[:, None]) for pixels in (pictures(), pictures() + changes))
    assert (misled < clean).all()


def test_nothing_changes_at_epsilon_zero_and_nothing_leaves_the_pixel_values():
    pixels = pictures()
    for norm in ("linf", "l2"):
        assert torch.equal(pgd(linear, pixels, LABELS, 0, norm, steps=3, draws=draws()), pixels)
        assert torch.equal(noise(pixels, 0, norm, draws=draws()), pixels)
        for seen in (
            pgd(linear, pixels, LABELS, 5000, norm, steps=3, draws=draws()),
            noise(pixels, 5000, norm, draws=draws()),
        ):
            assert 0 <= seen.min() <= seen.max() <= 255
    assert torch.equal(fgsm(linear, pixels, LABELS, 0), pixels)


def test_starts_and_noise_fill_their_ball():
    shape = torch.Size((500, 3, 2, 2))
    assert random_start(shape, 2, "linf", draws()).abs().max() <= 2
    lengths = random_start(shape, 2, "l2", draws()).flatten(1).norm(dim=1)
    assert lengths.max() <= 2
    assert (lengths > 2 * 0.5 ** (1 / 12)).float().mean() == pytest.approx(0.5, abs=0.07)  # half of the volume
    grey = torch.full((5, 3, 4, 4), 128.0)
    assert (noise(grey, 3, "linf", draws=draws()) - grey).abs().unique().tolist() == [3]
    far = (noise(grey, 3, "l2", draws=draws()) - grey).flatten(1).norm(dim=1)
    torch.testing.assert_close(far, torch.full((5,), 3.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(projected(torch.full((1, 3, 2, 2), 2.0), 1.0, "l2").norm(), torch.tensor(1.0))


def test_an_image_without_a_label_and_several_answers_are_no_obstacle():
    seen = pgd(linear, pictures(), torch.tensor([[0, 1], [-1, -1], [1, -1]]), 4, "linf", steps=2, draws=draws())
    assert seen.isfinite().all()


def test_an_honest_curve_passes_all_checks():
    pgd_curve = {1.0: 60.0, 4.0: 10.0, 64.0: 0.0}
    others = {"fgsm": {1.0: 62.0, 4.0: 30.0, 64.0: 5.0}, "noise": dict.fromkeys(pgd_curve, 90.0)}
    assert failed_checks("linf", 95.0, pgd_curve, others) == []


def test_each_check_is_failed_by_its_kind_of_masking():
    said = failed_checks("linf", 50.0, {1.0: 60.0, 4.0: 40.0}, {"fgsm": {4.0: 20.0}, "transfer": {1.0: 10.0}})
    assert said == [
        "linf 1: accuracy rises from 50.0 to 60.0 % with epsilon",
        "linf 4: 40.0 % are still right under the strongest attack, which ought to be 0",
        "linf 4: fgsm leaves 20.0 %, less than pgd's 40.0 %: one step does better than many",
        "linf 1: transfer leaves 10.0 %, less than pgd's 60.0 %: a copy's gradient does better than the network's own",
    ]


def test_a_masked_gradient_is_found_out():
    """Scores in steps have no gradient: the attack stays where it is, and random noise does as well."""

    def masked(pixels):
        return linear(pixels).mul(4).round() / 4 + 0 * pixels.sum()

    right = {
        epsilon: 100 * (masked(pgd(masked, pictures(), masked(pictures()).argmax(1), epsilon, "linf", steps=3,
                                   draws=draws())).argmax(1) == masked(pictures()).argmax(1)).float().mean().item()
        for epsilon in (4.0, 64.0)
    }  # fmt: skip
    assert any("ought to be 0" in said for said in failed_checks("linf", 100.0, right, {}))
