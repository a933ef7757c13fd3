"""A plan's numbers against counting by hand."""

import pytest
import torch
from torch import nn

from tests.training.examples import recipe_settings, small_digits, tiny_network
from training.plan import make_plan
from training.settings import TrainSettings

MIB = 2**20


def plan_of(network, recipe, **changes):
    options = {"train_images": 1442, "num_classes": 10, "precision": "fp32", "device": "cpu"}
    return make_plan(network, small_digits(), recipe, **(options | changes))


def test_groups_and_steps():
    plan = plan_of(tiny_network(), recipe_settings(batch_size=48, accumulation=3, epochs=5, warmup_epochs=1))
    convolution, head = 16 * 3 * 9, 256 * 10
    assert [(group.params, group.tensors) for group in plan.groups] == [(convolution + head, 2), (16 + 16 + 16 + 10, 4)]
    assert [group.weight_decay for group in plan.groups] == [0.05, 0.0]
    assert (plan.steps_per_epoch, plan.steps) == (30, 150)
    assert plan.train_seconds == pytest.approx(150 * plan.step_seconds)
    assert plan.measured_images == 8
    moments = {moment.name: (moment.step, moment.learning_rate) for moment in plan.moments}
    assert moments["first step"] == (0, 1e-5)
    assert moments["end of warm-up"] == (29, pytest.approx(1e-3))
    assert moments["half"][0] == 75
    assert moments["last step"][0] == 149
    assert [moment.step for moment in plan.moments] == sorted(moment.step for moment in plan.moments)


@pytest.mark.parametrize(("ema", "accumulation"), [(None, 1), (0.999, 4)])
def test_memory(ema, accumulation):
    class Two(nn.Module):
        """Keeps its input for the first layer, the rectified map for the ReLU and the second layer, and the logits."""

        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(192, 1000, bias=False), nn.Linear(1000, 10, bias=False)

        def forward(self, images):
            return self.second(self.first(images.flatten(1)).relu())

    weights = 4 * (192_000 + 10_000) / MIB
    recipe = recipe_settings(batch_size=64, accumulation=accumulation, ema_decay=ema)
    plan = plan_of(Two(), recipe)
    assert plan.weights_mib == plan.gradients_mib == pytest.approx(weights)
    assert plan.optimizer_mib == pytest.approx(2 * weights, rel=1e-3)  # AdamW's two moments, and step counters
    assert plan.average_mib == (0 if ema is None else pytest.approx(weights))
    per_image = 4 * (192 + 1000 + 10) / MIB
    assert plan.activations_mib == pytest.approx(64 / accumulation * per_image, rel=0.02)


def test_a_moving_average_and_mixing_leave_the_recipe_as_it_is():
    recipe = recipe_settings("unified_attention", batch_size=32)
    plan = plan_of(tiny_network(), recipe, settings=TrainSettings(dry_run_images=5))
    assert (plan.batch_size, recipe.batch_size) == (32, 32)
    assert plan.measured_images == 4  # mixup pairs images


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match=r"recipe\.batch_size=4096"):
        plan_of(tiny_network(), recipe_settings("unified_conv"))


def test_the_networks_buffers_count_as_weights():
    plan = plan_of(
        nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192, affine=False), nn.Linear(192, 10)), recipe_settings()
    )
    buffers, counter = 2 * 4 * 192, torch.empty((), dtype=torch.int64).nbytes
    assert plan.weights_mib * MIB == pytest.approx(4 * 1930 + buffers + counter)
