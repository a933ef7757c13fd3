"""`python -m training.data.probes FOLDER`: a picture of eight images of each probe, as conf/data/ describes them."""

import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from training.data import SOURCES, check_data
from training.data.probes import PROBES
from training.settings import DataSettings

CONF = Path(__file__).parents[3] / "conf" / "data"
SAMPLES, ENLARGED, GAP, WHITE = 8, 3, 3, 255


def picture(name: str) -> Image.Image:
    """The first images of the training set, side by side, the classes in turn."""
    values = yaml.safe_load((CONF / f"probe_{name}.yaml").read_text(encoding="utf-8"))
    data = DataSettings(**values | {"train_images": 1024})
    check_data(data)
    images = SOURCES[data.source].load(data, "train")
    turns = [np.flatnonzero(images.labels.numpy() == label) for label in range(data.num_classes)]
    chosen = [turns[index % data.num_classes][index // data.num_classes] for index in range(SAMPLES)]
    pixels = images.pixels[chosen].expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    framed = np.pad(pixels, ((0, 0), (GAP, GAP), (GAP, GAP), (0, 0)), constant_values=WHITE)
    row = Image.fromarray(np.concatenate(list(framed), axis=1))
    return row.resize((row.width * ENLARGED, row.height * ENLARGED), Image.Resampling.NEAREST)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in PROBES:
        picture(name).quantize(32).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
