"""Outcomes per image: what is kept, in how many bytes, and that every reader reads it."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.contrasts import read_outcomes
from analysis.contrasts.outcomes import OutcomesError
from tests.training.test_distributed import run_ranks
from training.data.images import ImageFiles
from training.outcomes import DTYPE, Outcomes, answers, image_key

LOGITS = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0], [0.0, 0.0, 9.0]])


def files(count, root="/data"):
    return ImageFiles([f"{root}/val/cat/{index}.jpg" for index in range(count)], torch.zeros(count, dtype=torch.int64))


@dataclass
class Seen:
    """What outcomes look at of batches."""

    images: ImageFiles
    root: str


def collected(logits, labels, images, root="/data"):
    return outcomes_of(logits, labels).table(Seen(images, root))


def outcomes_of(logits, labels):
    outcomes = Outcomes()
    for rows, right in zip(logits.split(2), labels.split(2), strict=True):
        outcomes.add(answers(rows, right))
    return outcomes


def test_what_is_kept_of_an_image():
    table = collected(LOGITS, torch.tensor([1, 2, 0]), files(3))
    assert table.dtype.itemsize == 16
    assert table["label"].tolist() == [1, 2, 0]
    assert table["answer"].tolist() == [1, 0, 2]
    assert table["top1"].tolist() == [True, False, False]
    assert table["top5"].tolist() == [True, True, True]
    expected = LOGITS.log_softmax(1)[[0, 1, 2], [1, 2, 0]]
    np.testing.assert_allclose(table["log_probability"], expected, rtol=1e-3)


def test_an_images_key_does_not_depend_on_where_the_data_lies():
    here = collected(LOGITS, torch.tensor([1, 2, 0]), files(3))
    there = collected(LOGITS, torch.tensor([1, 2, 0]), files(3, "/somewhere/else"), "/somewhere/else/")
    assert here["image"].tolist() == there["image"].tolist()
    assert len(set(here["image"])) == 3
    assert image_key("image 3", None) == image_key("image 3", "/data")


def test_images_without_a_label_are_left_out_and_of_several_any_right_answer_counts():
    table = collected(LOGITS, torch.tensor([[2, 1], [-1, -1], [0, -1]]), files(3))
    keys = collected(LOGITS, torch.tensor([0, 0, 0]), files(3))["image"]
    assert table["image"].tolist() == [keys[0], keys[2]]
    assert table["top1"].tolist() == [True, False]
    chances = LOGITS.softmax(1)
    assert table["log_probability"][0] == pytest.approx(math.log(chances[0, 1] + chances[0, 2]), rel=1e-3)


def test_a_probability_that_is_too_small_for_the_format_stays_a_number():
    table = collected(torch.tensor([[0.0, 1e6]]), torch.tensor([0]), files(1))
    assert np.isfinite(table["log_probability"]).all()


def test_a_class_that_the_format_does_not_hold_is_refused():
    logits = torch.zeros(1, 2**16 + 1)
    with pytest.raises(ValueError, match=r"class 65536: outcomes\.npy holds classes below 65536"):
        collected(logits, torch.tensor([2**16]), files(1))


def test_what_is_written_is_read_by_our_reader_and_pandas(tmp_path):
    outcomes = outcomes_of(LOGITS, torch.tensor([1, 2, 0]))
    table = outcomes.table(Seen(files(3), "/data"))
    outcomes.write(tmp_path / "outcomes.npy", Seen(files(3), "/data"))
    np.testing.assert_array_equal(read_outcomes(tmp_path / "outcomes.npy"), table)
    frame = pd.DataFrame(np.load(tmp_path / "outcomes.npy"))
    assert list(frame.columns) == list(DTYPE.names)
    assert frame["top1"].mean() == pytest.approx(1 / 3)


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "outcomes.npy"
    outcomes_of(LOGITS, torch.tensor([1, 2, 0])).write(path, Seen(files(3), "/data"))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(OutcomesError, match=r"outcomes\.npy is no whole file of outcomes"):
        read_outcomes(path)
    np.save(path, np.zeros(3))
    with pytest.raises(OutcomesError, match="has float64, not"):
        read_outcomes(path)


RANK = """
import sys, torch, numpy as np
from training.distributed import Ranks, join, ranks_of
from tests.training.test_outcomes import Seen, files
from training.outcomes import Outcomes, answers
ranks = ranks_of()
join(ranks)
logits = torch.randn(7, 9, generator=torch.Generator().manual_seed(0))
outcomes = Outcomes()
outcomes.add(answers(logits[ranks.rank :: ranks.count], torch.arange(7)[ranks.rank :: ranks.count]))
np.save(f"{sys.argv[1]}/{ranks.rank}.npy", outcomes.table(Seen(files(7), "/data"), ranks))
"""


def test_ranks_put_their_shares_together_in_the_order_of_the_data_set(tmp_path):
    run_ranks(RANK, tmp_path)
    alone = collected(torch.randn(7, 9, generator=torch.Generator().manual_seed(0)), torch.arange(7), files(7))
    for rank in (0, 1):
        np.testing.assert_array_equal(np.load(tmp_path / f"{rank}.npy"), alone)
