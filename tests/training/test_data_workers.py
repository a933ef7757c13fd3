"""Data workers end with their process, however that ends."""

import subprocess
import sys

from tests.test_layout import ROOT

FAILING = """
import torch
from tests.training.examples import brief, small_digits
from training.data import training_batches

batches = training_batches(small_digits(workers=1), brief(color_jitter=0.1), seed=0, device=torch.device("cpu"))
for pixels, labels in batches.epoch(0):
    raise ValueError("an error of the program's own, which keeps the batches alive")
"""


def test_a_program_that_fails_between_two_batches_ends():
    done = subprocess.run([sys.executable, "-c", FAILING], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "ValueError: an error of the program's own" in done.stderr
