"""Reference weights and inputs that both sides of a comparison rebuild from names and shapes; none is stored.

Every floating-point entry of a reference state dict is drawn from a generator seeded by the CRC-32 of its official key.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch

SCALE_NAMES = ("weight", "gamma", "gamma1", "gamma2", "gamma_1", "gamma_2")


def generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def tensor_for(key: str, shape: Sequence[int]) -> torch.Tensor:
    """float64 tensor for the reference entry `key`: variances and scale vectors near 1, the rest noise over fan-in."""
    noise = generator(key).standard_normal(tuple(shape))
    if key.endswith("running_var"):
        values = 1 + 0.1 * np.abs(noise)
    elif len(shape) > 1:
        values = noise / np.sqrt(np.prod(shape[1:]))
    elif key.endswith(SCALE_NAMES):
        values = 1 + 0.1 * noise
    else:
        values = 0.1 * noise
    return torch.from_numpy(np.asarray(values, dtype=np.float64).reshape(tuple(shape)))


def state_dict_for(manifest: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
    """Reference state dict, float64, of `{official key: shape}`."""
    return {key: tensor_for(key, shape) for key, shape in manifest.items()}


def input_for(shape: Sequence[int] = (2, 3, 224, 224)) -> torch.Tensor:
    """float64 standard-normal input of `shape` (images are N, 3, H, W)."""
    return torch.from_numpy(generator("input").standard_normal(tuple(shape)))
