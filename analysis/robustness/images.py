"""What is done to images: parts covered, parts exchanged, frequencies taken away.

Pixel values are between 0 and 255, float (B, C, H, W); what is drawn comes from a generator on the CPU.
"""

import torch
from torch import Tensor


def occluded(pixels: Tensor, share: float, *, grid: int, draws: torch.Generator) -> Tensor:
    """A share of the squares of a grid, drawn for each image, is black.

    Source: Naseer et al., Intriguing Properties of Vision Transformers, arXiv 2105.10497, section 3.1 (random drop).

    Args:
        share: rounded to whole squares.
        grid: squares along each side; some are a pixel larger where it does not divide the image.
    """
    count, (height, width) = round(share * grid * grid), pixels.shape[-2:]
    order = torch.rand(len(pixels), grid * grid, generator=draws).argsort(1)
    kept = (order >= count).view(-1, grid, grid).to(pixels.device)
    rows, columns = (_square_of(side, grid, pixels.device) for side in (height, width))
    return pixels * kept[:, None, rows[:, None], columns]


def shuffled(pixels: Tensor, grid: int, *, draws: torch.Generator) -> Tensor:
    """The squares of a grid in an order drawn for each image.

    Source: Naseer et al., arXiv 2105.10497, section 3.3.

    Raises: ValueError where the grid does not divide the image.
    """
    batch, channels, height, width = pixels.shape
    if height % grid or width % grid:
        raise ValueError(f"a grid of {grid}×{grid} does not divide images of {height}×{width}")
    squares = pixels.reshape(batch, channels, grid, height // grid, grid, width // grid)
    squares = squares.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    order = torch.rand(batch, grid * grid, generator=draws).argsort(1).to(pixels.device)
    moved = squares[torch.arange(batch, device=pixels.device)[:, None], order]
    moved = moved.view(batch, grid, grid, channels, height // grid, width // grid)
    return moved.permute(0, 3, 1, 4, 2, 5).reshape(pixels.shape)


def low_passed(pixels: Tensor, cutoff: float) -> Tensor:
    """Without the frequencies above a share `cutoff` of the highest, cut off to what pixels can be.

    A frequency is the length of (cycles a column, cycles a row), the highest half a cycle a pixel: those of the
    diagonal go up to √2 of it. Source of the experiment: Yin et al., A Fourier Perspective on Model Robustness in
    Computer Vision, arXiv 1906.08988, section 3.
    """
    return _filtered(pixels, _frequencies(pixels) <= cutoff / 2)


def high_passed(pixels: Tensor, cutoff: float) -> Tensor:
    """Without the frequencies up to a share `cutoff` of the highest; each channel keeps its mean. As `low_passed`."""
    frequencies = _frequencies(pixels)
    return _filtered(pixels, (frequencies > cutoff / 2) | (frequencies == 0))


def _filtered(pixels: Tensor, kept: Tensor) -> Tensor:
    height, width = pixels.shape[-2:]
    return torch.fft.irfft2(torch.fft.rfft2(pixels) * kept, s=(height, width)).clamp(0, 255)


def _frequencies(pixels: Tensor) -> Tensor:
    """(H, W // 2 + 1): cycles a pixel, as `torch.fft.rfft2` orders them."""
    height, width = pixels.shape[-2:]
    down = torch.fft.fftfreq(height, device=pixels.device)[:, None]
    across = torch.fft.rfftfreq(width, device=pixels.device)
    return (down.square() + across.square()).sqrt()


def _square_of(side: int, grid: int, device: torch.device) -> Tensor:
    """The square of the grid that each pixel along a side is in."""
    return torch.arange(side, device=device) * grid // side
