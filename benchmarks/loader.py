"""Times the data loader with the unified recipe against timm's, on JPEGs of 500 × 375 pixels.

    python -m benchmarks.loader --workers 2 --rounds 5

Both do the same work: decode, random resized crop, flip, RandAugment in workers; normalise, erase in the main process.
Medians over alternating epochs, so that drift of the machine meets both alike; also in processor time, which other
programs on the machine disturb less. Before them, what decoding alone allows.
The images are made on the first run (a minute) and kept in --folder.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from timm.data import create_dataset, create_loader

from launch.terminal import accept_any_encoding
from training.augmentation import TrainingAugmentation
from training.data import training_batches
from training.data.decoding import DECODERS, decode
from training.data.random_augment import allow_posterizing_to_black
from training.settings import DataSettings, RecipeSettings

from .arguments import count

CONF = Path(__file__).parents[1] / "conf"
WIDTH, HEIGHT, QUALITY = 500, 375, 95
CLASSES = 10


def photograph(seed: int) -> Image.Image:
    """Noise of all scales, the coarse ones strongest, as in photographs; as a JPEG about as large as ImageNet's."""
    draws = np.random.default_rng(seed)
    total = np.full((HEIGHT, WIDTH, 3), 128.0)
    for octave in range(9):
        cells = 2 ** (octave + 1)
        grey = draws.normal(size=(3 * cells // 4 + 1, cells, 1))
        noise = (grey + 0.3 * draws.normal(size=(*grey.shape[:2], 3))) * 30 / 1.2**octave
        bands = [
            Image.fromarray(noise[:, :, band].astype(np.float32)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            for band in range(3)
        ]
        total += np.stack([np.asarray(band) for band in bands], axis=2)
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def make_images(folder: Path, count: int) -> None:
    """`count` JPEGs in class folders under `folder/train`; what is there already is kept."""
    for number in range(count):
        path = folder / "train" / f"class{number % CLASSES}" / f"{number:05d}.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            photograph(number).save(path, quality=QUALITY)


def settings(folder: Path, workers: int, batch: int, **changes: str) -> tuple[DataSettings, RecipeSettings]:
    data = yaml.safe_load((CONF / "data" / "image_folder.yaml").read_text())
    data |= {"root": str(folder), "workers": workers, "crop_pct": 0.875, "interpolation": "bicubic"} | changes
    recipe = yaml.safe_load((CONF / "recipe" / "unified_attention.yaml").read_text())
    # Mixing happens after loading, alike for both.
    return DataSettings(**data), RecipeSettings(**(recipe | {"batch_size": batch, "mixup": 0.0, "cutmix": 0.0}))


def our_epoch(folder: Path, workers: int, batch: int, **changes: str) -> Callable[[int], int]:
    data, recipe = settings(folder, workers, batch, **changes)
    device = torch.device("cpu")
    batches = training_batches(data, recipe, seed=0, device=device)
    augment = TrainingAugmentation(data, recipe, CLASSES, device)
    return lambda epoch: sum(len(augment(pixels, labels)[0]) for pixels, labels in batches.epoch(epoch))


def timms_epoch(folder: Path, workers: int, batch: int) -> Callable[[int], int]:
    data, recipe = settings(folder, workers, batch)
    dataset = create_dataset("", root=str(folder), split="train", is_training=True)
    loader = create_loader(
        dataset,
        input_size=(3, data.resolution, data.resolution),
        batch_size=batch,
        is_training=True,
        re_prob=recipe.random_erasing,
        re_mode="pixel",
        scale=recipe.random_crop_scale,
        ratio=recipe.random_crop_ratio,
        color_jitter=recipe.color_jitter,
        auto_augment=recipe.random_augment,
        interpolation=data.interpolation,
        mean=data.mean,
        std=data.std,
        num_workers=workers,
        device=torch.device("cpu"),
    )
    allow_posterizing_to_black(dataset.transform)
    return lambda epoch: sum(len(images) for images, _ in loader)


def measure(run: Callable[[int], int], epoch: int) -> tuple[float, float]:
    """Images a second, and milliseconds of processor time an image in this process and its workers."""
    start, used = time.perf_counter(), processor_seconds()
    images = run(epoch)
    return images / (time.perf_counter() - start), 1000 * (processor_seconds() - used) / images


def processor_seconds() -> float:
    """Of this process and its children, since each started."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    ticks = 0
    for process in (os.getpid(), *children):
        after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(after_name[11]) + int(after_name[12])  # utime, stime
    return ticks / os.sysconf("SC_CLK_TCK")


def decoding_alone(folder: Path, images: int, rounds: int) -> dict[str, float]:
    """Images a second of each decoder on one core; the files are in memory."""
    contents = [path.read_bytes() for path in sorted((folder / "train").glob("*/*.jpg"))[:images]]
    speeds: dict[str, list[float]] = {decoder: [] for decoder in DECODERS}
    for _ in range(rounds):
        for decoder, measured in speeds.items():
            start = time.perf_counter()
            for content in contents:
                decode(content, decoder)
            measured.append(len(contents) / (time.perf_counter() - start))
    return {decoder: statistics.median(measured) for decoder, measured in speeds.items()}


def main() -> None:
    accept_any_encoding()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/loader_images"))
    parser.add_argument("--images", type=count, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=count, default=64)
    parser.add_argument("--rounds", type=count, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    make_images(options.folder, options.images)
    for decoder, speed in decoding_alone(options.folder, images=200, rounds=options.rounds).items():
        print(f"decoding alone, {decoder:12} {speed:7.1f} images/s on one core")
    place = (options.folder, options.workers, options.batch)
    runs = {
        "timm": timms_epoch(*place),
        "pillow, pillow": our_epoch(*place, decoder="pillow", resizer="pillow"),
        "simplejpeg, pillow": our_epoch(*place, decoder="simplejpeg", resizer="pillow"),
        "simplejpeg, torch": our_epoch(*place, decoder="simplejpeg", resizer="torch"),
    }
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for epoch in range(options.rounds + 1):
        for name, run in runs.items():
            measured[name].append(measure(run, epoch))
    print(f"{'':20} {'images/s':>9}  {'× timm':>6}  {'ms of CPU':>9}  {'timm /':>6}")
    for name, epochs in measured.items():
        pairs = list(zip(epochs, measured["timm"], strict=True))[1:]  # workers start in the first epoch
        speed, cost = (statistics.median(own[value] for own, _ in pairs) for value in (0, 1))
        faster = statistics.median(own[0] / timm[0] for own, timm in pairs)
        cheaper = statistics.median(timm[1] / own[1] for own, timm in pairs)
        print(f"{name:20} {speed:9.1f}  {faster:6.2f}  {cost:9.2f}  {cheaper:6.2f}")


if __name__ == "__main__":
    main()
