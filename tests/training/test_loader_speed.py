"""What `task=loader` measures, by its meaning; how fast this machine is, no test knows."""

import time

import pytest
import torch

from tasks.loader import LoaderSettings
from tests.training.examples import brief, small_digits, tiny_network
from training.loader_speed import measure_loader

OPTIONS = {
    "warmup_batches": 2,
    "compile": False,
    "gradient_checkpointing": False,
    "seed": 0,
    "precision": "fp32",
    "device": "cpu",
    "show_progress": False,
}


def measured(network, **changes):
    options = OPTIONS | {"seconds": 0.2, "step_images": None} | changes
    return measure_loader(network, small_digits(), brief(batch_size=96), **options)


def test_a_slow_network_binds():
    class Slow(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = tiny_network()

        def forward(self, images):
            time.sleep(0.1)
            return self.network(images)

    results = measured(Slow())
    assert results["step_images_per_second"] < 8 / 0.1
    assert results["loader_images_per_second"] > results["step_images_per_second"]
    assert results["data_wait_percent"] == 0
    assert results["corrupt_images"] == 0


def test_slow_data_bind(monkeypatch):
    from training.data.memory_batches import MemoryTrainingBatches

    unhurried = MemoryTrainingBatches.epoch

    def slow(self, epoch, first_batch=0):
        for batch in unhurried(self, epoch, first_batch):
            time.sleep(0.1)
            yield batch

    monkeypatch.setattr(MemoryTrainingBatches, "epoch", slow)
    results = measured(tiny_network(), step_images=96)
    assert results["loader_images_per_second"] <= 96 / 0.1
    share = 100 * (1 - results["loader_images_per_second"] / results["step_images_per_second"])
    assert results["data_wait_percent"] == pytest.approx(max(0, share))


@pytest.mark.parametrize("changes", [{"seconds": 0.0}, {"warmup_batches": 0}, {"step_images": 1}])
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ValueError, match=rf"task\.{next(iter(changes))}="):
        LoaderSettings(**changes)
