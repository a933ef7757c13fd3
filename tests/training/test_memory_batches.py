"""Small data sets: what is in them, and how whole batches are cropped."""

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from tests.training.examples import brief, data_settings, recipe_settings, small_digits
from training.data import digits, training_batches, validation_batches
from training.data.images import StoredImages
from training.data.memory_batches import MemoryTrainingBatches, MemoryValidationBatches

CPU = torch.device("cpu")
WHOLE = {"random_crop_scale": (1.0, 1.0), "random_crop_ratio": (1.0, 1.0)}


def test_digits_are_split_alike_in_every_class():
    train, validation = digits.load(small_digits(), "train"), digits.load(small_digits(), "validation")
    assert (len(train), len(validation)) == (1442, 355)
    assert train.pixels.dtype == torch.uint8
    assert train.pixels.shape[1:] == (1, 8, 8)
    assert (int(train.pixels.min()), int(train.pixels.max())) == (0, 255)
    for label in range(10):
        counts = [int((split.labels == label).sum()) for split in (train, validation)]
        assert counts[0] // 4 in (counts[1], counts[1] + 1)


def test_an_epoch_shows_every_image_once_and_labels_stay_with_images():
    recipe = recipe_settings(batch_size=7, **WHOLE)
    images = StoredImages(
        torch.arange(140, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, 4, 4), torch.arange(140)
    )
    batches = MemoryTrainingBatches(images, small_digits(), recipe, seed=0, device=CPU)
    seen = []
    for pixels, labels in batches.epoch(0):
        assert pixels.shape == (7, 3, 8, 8)
        assert torch.allclose(pixels[:, 0, 0, 0], labels.float(), atol=1e-3)
        seen += labels.tolist()
    assert sorted(seen) == list(range(140))
    assert seen != list(range(140))


def test_epochs_repeat_themselves_and_differ_from_each_other():
    def first_batch(seed, epoch):
        return next(training_batches(small_digits(), brief(), seed=seed, device=CPU).epoch(epoch))[0]

    assert torch.equal(first_batch(0, 3), first_batch(0, 3))
    assert not torch.equal(first_batch(0, 3), first_batch(0, 4))
    assert not torch.equal(first_batch(0, 3), first_batch(1, 3))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_crop_of_everything_is_what_validation_sees(interpolation):
    data = small_digits(resolution=32, interpolation=interpolation)
    images = digits.load(data, "train")
    batches = MemoryTrainingBatches(images, data, recipe_settings(batch_size=1442, **WHOLE), seed=0, device=CPU)
    pixels, labels = next(batches.epoch(0))
    order = MemoryValidationBatches(images, data, batch_size=1442, device=CPU)
    expected, expected_labels = next(order.epoch(0))
    brightness = expected.mean((1, 2, 3))
    assert (brightness.sort().values - pixels.mean((1, 2, 3)).sort().values).abs().max() < 1e-3
    for image, label in zip(pixels[:50], labels[:50], strict=True):
        distance = (expected - image).abs().amax((1, 2, 3))
        assert distance.min() < 0.01
        assert expected_labels[distance.argmin()] == label


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_flips_mirror_left_and_right(probability):
    image = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    image[..., 0] = 200
    image[..., 3, 1] = 100
    data = small_digits(resolution=4, horizontal_flip=probability)
    batches = MemoryTrainingBatches(
        StoredImages(image, torch.zeros(1).long()), data, recipe_settings(batch_size=1, **WHOLE), seed=0, device=CPU
    )
    expected = image.float().flip(-1) if probability else image.float()
    assert torch.allclose(next(batches.epoch(0))[0][:, :1], expected, atol=1e-3)


def test_crops_have_the_asked_area_and_ratio_and_stay_inside():
    """A ramp from left to right and another from top to bottom show where each crop's edges were."""
    side = 64
    ramp = torch.arange(side, dtype=torch.uint8)
    pixels = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side), torch.zeros(side, side).byte()])
    images = StoredImages(pixels.expand(400, -1, -1, -1), torch.zeros(400).long())
    recipe = recipe_settings(batch_size=400, random_crop_scale=(0.2, 0.5), random_crop_ratio=(0.5, 2.0))
    data = small_digits(resolution=32, interpolation="bilinear", horizontal_flip=0.0)
    crops = next(MemoryTrainingBatches(images, data, recipe, seed=0, device=CPU).epoch(0))[0]
    width = (crops[:, 0, 0, -2] - crops[:, 0, 0, 1]) * 32 / 29 / side
    height = (crops[:, 1, -2, 0] - crops[:, 1, 1, 0]) * 32 / 29 / side
    area, ratio = width * height, width / height
    for values, low, high in ((area, 0.2, 0.5), (ratio, 0.5, 2.0)):
        assert low - 0.02 < values.min() < low * 1.15
        assert high * 0.9 < values.max() < high + 0.1
    left = crops[:, 0, 0, 0]
    assert left.min() >= 0
    assert crops[:, 0, 0, -1].max() <= side - 1
    assert left.unique().numel() > 300


def test_validation_resizes_and_crops_like_pil():
    data = small_digits(resolution=16, crop_pct=0.8, interpolation="bicubic")
    picture = torch.randint(0, 256, (1, 3, 40, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    batches = MemoryValidationBatches(StoredImages(picture, torch.zeros(1).long()), data, batch_size=1, device=CPU)
    pil = Image.fromarray(picture[0].permute(1, 2, 0).numpy()).resize((20, 20), Image.Resampling.BICUBIC)
    expected = pil_to_tensor(pil)[:, 2:18, 2:18].float()
    assert (next(batches.epoch(0))[0][0] - expected).abs().max() < 2


def test_the_last_validation_batch_may_be_smaller():
    sizes = [len(labels) for _, labels in validation_batches(small_digits(), batch_size=100, device=CPU).epoch(0)]
    assert sizes == [100, 100, 100, 55]


def test_too_few_images_and_labels_out_of_range_are_one_sentence():
    with pytest.raises(ValueError, match=r"digits has 1442 training images, fewer than recipe.batch_size=2000"):
        training_batches(small_digits(), recipe_settings(batch_size=2000), seed=0, device=CPU)
    with pytest.raises(
        ValueError,
        match=r"has label 5, but data.num_classes=5 allows 0 to 4 \(719 of 1442 train images of digits are wrong\)",
    ):
        training_batches(small_digits(num_classes=5), brief(), seed=0, device=CPU)


def test_grey_images_become_three_equal_channels():
    pixels, _ = next(validation_batches(data_settings("digits"), batch_size=8, device=CPU).epoch(0))
    assert pixels.shape == (8, 3, 32, 32)
    assert torch.equal(pixels[:, 0], pixels[:, 2])
    assert F.avg_pool2d(pixels, 32).std() > 0
