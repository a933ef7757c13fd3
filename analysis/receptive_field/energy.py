"""The effective receptive field of the feature at the centre of each map, by the gradients that reach the image.

Source: Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks",
arXiv:1701.04128, section 2. They send the gradient 1 into all channels of the centre. Where a map has been normed, the
sum over its channels depends on nothing and has no gradient; so here each channel of each image gets 1 or -1 at random.
The mean of the squared gradient is then the sum over channels of the squares of each channel's own gradient.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

QUIETEST_DB = -60
"""What a pixel has less of, relative to the strongest, is not told apart."""


def centre_energy(
    maps: Callable[[Tensor], Sequence[Tensor]], images: Tensor, generator: torch.Generator
) -> list[np.ndarray]:
    """Of each map that `maps` gives, the energy of each pixel: squared gradients of the map's centre, float64 H, W.

    Args:
        maps: differentiable: images (B, 3, H, W) -> maps, each B, C, H', W'.
        images: what the network takes, B, 3, H, W; energies are sums over them and over their channels.
        generator: on the CPU; draws the signs.
    """
    images = images.detach().requires_grad_()
    energies = []
    with torch.enable_grad():
        found = maps(images)
        for index, features in enumerate(found):
            centre = features[:, :, features.shape[2] // 2, features.shape[3] // 2].float()
            signs = torch.randint(0, 2, centre.shape, generator=generator).to(centre) * 2 - 1
            (gradient,) = torch.autograd.grad((signs * centre).sum(), images, retain_graph=index < len(found) - 1)
            energies.append(gradient.double().square().sum((0, 1)).cpu().numpy())
    return energies


def centre_of(features: tuple[int, int], image: tuple[int, int]) -> tuple[float, float]:
    """Where in an image of so many rows and columns the centre feature of a map lies, in pixels from its corner."""
    row, column = ((size // 2 + 0.5) * pixels / size for size, pixels in zip(features, image, strict=True))
    return row, column


def area_percent(energy: np.ndarray, percent: float) -> float:
    """How much of the image (H, W) the fewest pixels are that hold `percent` of the energy together.

    Raises: ValueError where there is none: nothing of the image reaches the feature.
    """
    strongest = np.sort(energy, axis=None)[::-1].cumsum()
    if not strongest[-1] > 0:
        raise ValueError("no gradient reaches the image, or one that is not finite")
    needed = np.searchsorted(strongest, percent / 100 * strongest[-1] * (1 - 1e-12)) + 1
    return 100 * float(needed) / energy.size


def within_percent(energy: np.ndarray, centre: tuple[float, float], radii: Sequence[float]) -> list[float]:
    """The radial profile: how much of the energy lies within each radius, in pixels around `centre`."""
    rows, columns = (np.arange(size) + 0.5 - place for size, place in zip(energy.shape, centre, strict=True))
    distance = np.hypot(rows[:, None], columns)
    return [100 * float(energy[distance <= radius].sum() / energy.sum()) for radius in radii]


def decibels(energy: np.ndarray, most: int) -> list[list[int]]:
    """A heat map of at most `most` rows and columns: mean energies relative to the strongest, 10 log10, rounded."""
    factor = -(-max(energy.shape) // most)
    rows, columns = (-(-size // factor) for size in energy.shape)
    filled = np.full((rows * factor, columns * factor), np.nan)
    filled[: energy.shape[0], : energy.shape[1]] = energy
    means = np.nanmean(filled.reshape(rows, factor, columns, factor), axis=(1, 3))
    relative = np.maximum(means / means.max(), 10 ** (QUIETEST_DB / 10))
    return np.round(10 * np.log10(relative)).astype(int).tolist()
