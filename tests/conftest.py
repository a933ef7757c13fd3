"""One thread per test process: pytest-xdist already uses every core, and one-thread sums are repeatable."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")
