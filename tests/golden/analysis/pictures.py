"""The image of which the stored views are, and their summaries."""

import numpy as np
from PIL import Image


def picture(height: int, width: int, seed: int) -> Image.Image:
    """Smooth colours, edges and noise."""
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    checks = 0.3 * ((rows // 23 + columns // 31) % 2 - 0.5)
    planes = []
    for channel in range(3):
        a, b, c = draws.uniform(0.01, 0.08, 3)
        plane = 0.5 + 0.25 * np.sin(a * rows + 3 * channel) + 0.2 * np.cos(b * columns + c * rows)
        plane += checks + draws.normal(0, 0.05, plane.shape)
        planes.append(plane)
    return Image.fromarray((np.clip(np.stack(planes, -1), 0, 1) * 255).astype(np.uint8))


def summary(view: np.ndarray) -> np.ndarray:
    """Of a normalised view (3, 224, 224), 150 numbers: 7×7 means and the standard deviation of each channel."""
    means = view.reshape(3, 7, 32, 7, 32).mean((2, 4))
    return np.concatenate([means.ravel(), view.std((1, 2))])
