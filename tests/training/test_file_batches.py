"""Images transformed one by one: neither workers nor what came before change a result."""

import pytest
import torch
from PIL import Image
from timm.data import create_transform

from tests.training.examples import recipe_settings, small_digits
from training.data import training_batches
from training.data.file_batches import FileBatches
from training.data.images import StoredImages
from training.data.memory_batches import MemoryTrainingBatches
from training.data.random_augment import allow_posterizing_to_black

CPU = torch.device("cpu")
AUGMENTED = recipe_settings(batch_size=16, random_augment="rand-m9-mstd0.5-inc1")


def images(count=70):
    pixels = torch.randint(0, 256, (count, 3, 20, 20), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return StoredImages(pixels, torch.arange(count))


def batches(workers=0, recipe=AUGMENTED, seed=0, **changes):
    data = small_digits(workers=workers, resolution=16, **changes)
    return FileBatches(images(), data, recipe, batch_size=16, seed=seed, device=CPU)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_the_number_of_workers_changes_nothing():
    alone, helped = batches(0), batches(3)
    for epoch in (0, 1):
        for (pixels, labels), (others, other_labels) in zip(alone.epoch(epoch), helped.epoch(epoch), strict=True):
            assert torch.equal(pixels, others)
            assert torch.equal(labels, other_labels)


def test_training_batches_are_shuffled_whole_and_differ_by_epoch_and_seed():
    assert len(batches()) == 4
    first = list(batches().epoch(0))
    assert [pixels.shape for pixels, _ in first] == [(16, 3, 16, 16)] * 4
    assert first[0][0].dtype == torch.uint8
    labels = torch.cat([labels for _, labels in first])
    assert labels.unique().numel() == 64
    assert labels.tolist() != sorted(labels.tolist())
    assert not torch.equal(labels, torch.cat([labels for _, labels in batches().epoch(1)]))
    assert not torch.equal(labels, torch.cat([labels for _, labels in batches(seed=1).epoch(0)]))


def test_an_image_is_augmented_anew_each_epoch():
    def image_of_label_0(epoch):
        return next(p[y == 0] for p, y in batches().epoch(epoch) if (y == 0).any())

    assert not torch.equal(image_of_label_0(0), image_of_label_0(3))


def test_validation_batches_are_in_order_and_complete():
    labels = torch.cat([labels for _, labels in batches(recipe=None).epoch(0)])
    assert labels.tolist() == list(range(70))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({}, MemoryTrainingBatches), ({"random_augment": "rand-m9"}, FileBatches), ({"color_jitter": 0.4}, FileBatches)],
)
def test_small_data_use_whole_batches_unless_the_recipe_augments_image_by_image(changes, kind):
    assert isinstance(training_batches(small_digits(), recipe_settings(**changes), seed=0, device=CPU), kind)


def test_random_augment_at_its_strongest_may_blacken_an_image():
    """With Pillow 13, timm 1.0's own transform raises here."""
    strongest = recipe_settings(batch_size=70, random_augment="rand-m10-n8-p1-inc1")
    pixels, _ = next(batches(recipe=strongest).epoch(0))
    assert pixels.shape == (16, 3, 16, 16)
    transform = create_transform((3, 16, 16), is_training=True, auto_augment="rand-m10-n8-p1-inc1")
    allow_posterizing_to_black(transform)
    operations = [operation for step in transform.transforms for operation in getattr(step, "ops", [])]
    operation = next(operation for operation in operations if operation.name == "PosterizeIncreasing")
    picture = Image.fromarray(images().read(0))
    operation.prob = 1.0
    assert operation(picture).getextrema() == ((0, 0),) * 3
    operation.magnitude = 8
    assert set(operation(picture).tobytes()) == {0, 128}
