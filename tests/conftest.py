"""One thread per test process: pytest-xdist already uses every core, and one-thread sums are repeatable."""

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")


@pytest.fixture(autouse=True)
def number_of_threads() -> Iterator[None]:
    """A test that leaves another number behind fails: later ones, in whatever order, would not repeat their sums."""
    import torch

    before = torch.get_num_threads()
    yield
    after = torch.get_num_threads()
    torch.set_num_threads(before)
    assert after == before, f"this test leaves {after} threads behind, not {before}"
