"""ImageNet-1k's validation images with reassessed labels (ReaL, Beyer et al. 2020, arXiv 2006.07159).

`data.root` is ImageNet's folder with `val/`, and `real.json` beside it: for each validation image, in the order of
their numbers, all labels that are right. An image without any counts in no score.
"""

import json
import re
from pathlib import Path

import torch

from ..settings import DataSettings
from . import image_folder
from .evaluation_only import evaluation_root, refuse_training
from .images import NO_LABEL, ImageFiles, Split

LABELS = "real.json"
NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})\.[A-Za-z]+$")


def check(data: DataSettings, split: Split) -> None:
    """Raises FileNotFoundError saying what to download."""
    refuse_training(data, split)
    if not (evaluation_root(data) / LABELS).is_file():
        raise FileNotFoundError(f"{LABELS} is not in data.root={data.root}: {data.download}")
    image_folder.split_folder(data, split)


def load(data: DataSettings, split: Split) -> ImageFiles:
    """Raises ValueError naming a file that does not fit."""
    check(data, split)
    answers = _read_answers(evaluation_root(data) / LABELS)
    paths = sorted(image_folder.images_under(image_folder.split_folder(data, split)), key=lambda path: Path(path).name)
    width = max(1, max(map(len, answers)))
    labels = torch.full((len(paths), width), NO_LABEL)
    for place, path in enumerate(paths):
        number = NUMBERED.search(path)
        if number is None or not 1 <= int(number[1]) <= len(answers):
            raise ValueError(f"{path}: expected ILSVRC2012_val_ and a number from 1 to {len(answers)} as its name")
        right = answers[int(number[1]) - 1]
        labels[place, : len(right)] = torch.tensor(right, dtype=torch.int64)
    return ImageFiles(paths, labels)


def _read_answers(path: Path) -> list[list[int]]:
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not answers or not all(isinstance(row, list) and all(type(label) is int for label in row) for row in answers):
        raise ValueError(f"{path}: expected a list of labels for each image")
    return answers
