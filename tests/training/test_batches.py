"""Both kinds of batches: entered anywhere, divided among ranks, with images repeated."""

from collections import Counter

import pytest
import torch

from tests.training.examples import brief, small_digits
from training.data import training_batches, validation_batches
from training.data.file_batches import EpochSampler
from training.distributed import ALONE, Ranks

CPU = torch.device("cpu")
KINDS = {"memory": {}, "files": {"color_jitter": 0.4}}


def training(kind, ranks=ALONE, **changes):
    recipe = brief(**{"batch_size": 96} | KINDS[kind] | changes)
    return training_batches(small_digits(), recipe, seed=3, device=CPU, ranks=ranks)


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_entered_in_the_middle_goes_on_as_it_would_have(kind):
    batches = training(kind, augmentation_repeats=2)
    whole, rest = list(batches.epoch(1)), list(batches.epoch(1, 11))
    assert len(whole) == len(batches) == 15
    assert len(rest) == 4
    for (pixels, labels), (others, other_labels) in zip(whole[11:], rest, strict=True):
        assert torch.equal(pixels, others)
        assert torch.equal(labels, other_labels)
    assert list(batches.epoch(1, 15)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_share_a_batch(kind):
    pixels, labels = next(training(kind).epoch(0, 2))
    for rank in range(3):
        batches = training(kind, Ranks(rank, 3, rank))
        assert len(batches) == 15
        share, share_labels = next(batches.epoch(0, 2))
        assert torch.equal(share_labels, labels[rank::3])
        assert torch.allclose(share.float(), pixels[rank::3].float(), atol=1e-3)


def test_ranks_share_validation_without_a_rest():
    data = small_digits()
    alone = torch.cat([labels for _, labels in validation_batches(data, batch_size=50, device=CPU).epoch(0)])
    shares = [validation_batches(data, batch_size=50, device=CPU, ranks=Ranks(rank, 3, rank)) for rank in range(3)]
    labels = [torch.cat([labels for _, labels in share.epoch(0)]) for share in shares]
    assert sum(map(len, labels)) == len(alone) == 355
    for rank in range(3):
        assert torch.equal(labels[rank], alone[rank::3])


def test_repeated_images_come_in_a_row_each_time_augmented_anew_and_on_another_rank():
    """As with timm's RepeatAugSampler: of 1,442 images an epoch shows a third, each three times."""
    draws = list(EpochSampler(1442, 96, seed=0, training=True, repeats=3))
    assert len(draws) == 15 * 96
    assert set(Counter(index for _, index, _ in draws).values()) == {3}
    assert [repetition for *_, repetition in draws[:6]] == [0, 1, 2, 0, 1, 2]
    assert draws[0][1] == draws[1][1] == draws[2][1] != draws[3][1]
    by_rank = [list(EpochSampler(1442, 96, 0, training=True, repeats=3, ranks=Ranks(rank, 3, 0))) for rank in range(3)]
    assert {repetition for *_, repetition in by_rank[1]} == {1}
    assert [draw for three in zip(*by_rank, strict=True) for draw in three] == draws
    first, second, third = next(training("files", augmentation_repeats=3).epoch(0))[0][:3]
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
