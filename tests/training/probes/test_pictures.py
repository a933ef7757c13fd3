"""The pictures in docs/probes/ are of the probes as they are drawn today."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data.probes import PROBES
from training.data.probes.__main__ import picture

PICTURES = Path(__file__).parents[3] / "docs" / "probes"


@pytest.mark.parametrize("name", PROBES)
def test_each_probe_has_its_picture(name):
    path = PICTURES / f"{name}.png"
    assert path.stat().st_size < 60_000
    kept, drawn = (np.asarray(image.convert("RGB")).astype(int) for image in (Image.open(path), picture(name)))
    assert kept.shape == drawn.shape
    assert np.abs(kept - drawn).max() <= 16  # 32 colours are kept
