"""Every random draw is a function of the run's seed and of where in the run it happens.

So nothing has to be remembered to continue a killed run, and the number of data workers changes nothing.
"""

import random

import numpy as np
import torch

SHUFFLE, CROP, IMAGE, STEP = range(4)
"""What a draw is for: keeps the streams of one run apart."""


def derive_seed(*entropy: int) -> int:
    """One 63-bit seed from several non-negative numbers; any change of any number gives an unrelated seed."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(*entropy: int) -> torch.Generator:
    """A CPU generator of its own, for code that can be handed one."""
    return torch.Generator().manual_seed(derive_seed(*entropy))


def seed_global_generators(*entropy: int) -> None:
    """For code that draws from the global generators of Python, NumPy and torch (CPU, and CUDA where it is in use)."""
    seed = derive_seed(*entropy)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # torch.manual_seed does the same ten times slower: without CUDA in use it records where it was called from.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
