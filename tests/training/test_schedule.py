"""Learning rates at the steps where a formula shows."""

import itertools
import math

import pytest

from tests.training.examples import recipe_settings
from training.schedule import SCHEDULES, cosine_after_warmup, cosine_by_epoch, cosine_from_start

EPOCHS, WARMUP, STEPS = 300, 20, 10
RECIPE = recipe_settings(
    epochs=EPOCHS, warmup_epochs=WARMUP, learning_rate=1e-3, warmup_learning_rate=1e-6, final_learning_rate=1e-5
)


def test_after_warmup_meets_both_ends_of_the_warmup():
    rates = [cosine_after_warmup(step, RECIPE, STEPS) for step in range(EPOCHS * STEPS)]
    last = WARMUP * STEPS - 1
    assert rates[0] == 1e-6
    assert rates[last] == pytest.approx(1e-3, rel=1e-12)
    differences = [second - first for first, second in itertools.pairwise(rates[: last + 1])]
    assert differences == pytest.approx([(1e-3 - 1e-6) / last] * last, rel=1e-9)


@pytest.mark.parametrize("k", [0, 1, 700, 1400, 2799])
def test_after_warmup_is_a_cosine_over_the_remaining_steps(k):
    remaining = (EPOCHS - WARMUP) * STEPS
    expected = 1e-5 + (1e-3 - 1e-5) * (1 + math.cos(math.pi * k / remaining)) / 2
    assert cosine_after_warmup(WARMUP * STEPS + k, RECIPE, STEPS) == pytest.approx(expected, rel=1e-12)
    assert cosine_after_warmup(EPOCHS * STEPS - 1, RECIPE, STEPS) > 1e-5


@pytest.mark.parametrize("step", [0, 1, 199, 200, 201, 1500, 2999])
def test_from_start_equals_timm(step):
    """timm's scheduler without `warmup_prefix` is what the authors of DWNet and ConTNet used."""
    import torch
    from timm.scheduler import CosineLRScheduler

    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1e-3)
    timms = CosineLRScheduler(
        optimizer, EPOCHS * STEPS, lr_min=1e-5, warmup_t=WARMUP * STEPS, warmup_lr_init=1e-6, t_in_epochs=False
    )
    timms.step_update(step)
    assert cosine_from_start(step, RECIPE, STEPS) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


def test_by_epoch_is_constant_inside_an_epoch_and_one_epoch_late():
    by_epoch = [{cosine_by_epoch(e * STEPS + s, RECIPE, STEPS) for s in range(STEPS)} for e in range(EPOCHS)]
    assert all(len(rates) == 1 for rates in by_epoch)
    assert by_epoch[0] == by_epoch[1] == {1e-6}
    assert by_epoch[2] == {cosine_from_start(1, RECIPE, 1)}
    expected = 1e-5 + (1e-3 - 1e-5) * (1 + math.cos(math.pi * 150 / EPOCHS)) / 2
    assert by_epoch[151].pop() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("epochs", "warmup", "steps"), [(1, 0, 1), (1, 1, 1), (3, 3, 2), (2, 1, 1)])
def test_short_runs_stay_within_bounds(name, epochs, warmup, steps):
    recipe = recipe_settings(epochs=epochs, warmup_epochs=warmup)
    for step in range(epochs * steps):
        rate = SCHEDULES[name](step, recipe, steps)
        assert recipe.final_learning_rate <= rate <= recipe.learning_rate
