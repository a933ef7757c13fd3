"""What a network answered to each image, kept beside its scores so that two networks can be compared image by image.

A cell's `outcomes.npy` (and `outcomes_ema.npy`, of the averaged weights) is one NumPy structured array, 16 bytes an
image, in the order of the data set; `pandas.DataFrame(numpy.load("outcomes.npy"))` is a table. Images without a label,
or that could not be read, are in no score and not in it. Fields, little endian:

- `image` uint64: the first 8 bytes of the SHA-256 of the image's name below data.root, the same wherever that lies
- `label` uint16: of several right answers (ImageNet-ReaL) the first
- `answer` uint16: the likeliest class
- `log_probability` float16: natural logarithm of the probability of the label, or of all right answers together
- `top1`, `top5` bool: whether a right answer is the likeliest, or among the likeliest five
"""

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .data import Batches
from .data.images import NO_LABEL
from .distributed import ALONE, Ranks, from_all
from .whole_file import write_whole

DTYPE = np.dtype(
    [
        ("image", "<u8"),
        ("label", "<u2"),
        ("answer", "<u2"),
        ("log_probability", "<f2"),
        ("top1", "?"),
        ("top5", "?"),
    ]
)
MOST_CLASSES = 2**16
LEAST_LOGARITHM = float(np.finfo(np.float16).min)


class Answers(NamedTuple):
    """Of a batch, each (B); `labelled` says which images count."""

    label: Tensor
    answer: Tensor
    log_probability: Tensor
    top1: Tensor
    top5: Tensor
    labelled: Tensor


def answers(logits: Tensor, labels: Tensor) -> Answers:
    """What logits (B, classes) say about labels (B), or (B, K) where any of up to K answers is right."""
    right = labels.view(len(labels), -1)
    labelled = (right != NO_LABEL).any(1)
    chances = logits.log_softmax(1).gather(1, right.clamp(min=0)).masked_fill(right == NO_LABEL, -torch.inf)
    guesses = logits.topk(min(5, logits.shape[1])).indices
    hits = (guesses[:, :, None] == right[:, None, :]).any(2)
    return Answers(right[:, 0], guesses[:, 0], chances.logsumexp(1), hits[:, 0], hits.any(1), labelled)


class Outcomes:
    """Collects this rank's answers, on their device: nothing waits for it."""

    def __init__(self) -> None:
        self.batches: list[Answers] = []

    def add(self, batch: Answers) -> None:
        self.batches.append(batch)

    def write(self, path: Path, batches: Batches, ranks: Ranks = ALONE) -> None:
        """The first rank writes the answers of all, whole or not at all.

        Raises: ValueError as `table`; OSError, e.g. on a full disk.
        """
        table = self.table(batches, ranks)
        if ranks.first:
            buffer = io.BytesIO()
            np.save(buffer, table, allow_pickle=False)
            write_whole(path, buffer.getvalue())

    def table(self, batches: Batches, ranks: Ranks = ALONE) -> np.ndarray:
        """All ranks' answers to one pass of `batches`, together, on every rank.

        Raises: ValueError if a class has a number that the format does not hold.
        """
        columns = [torch.cat(parts).cpu().numpy() for parts in zip(*self.batches, strict=True)]
        mine = Answers(*columns)
        images = batches.images
        places = np.arange(ranks.rank, len(images), ranks.count)
        highest = int(max(mine.label.max(initial=0), mine.answer.max(initial=0)))
        if highest >= MOST_CLASSES:
            raise ValueError(f"class {highest}: outcomes.npy holds classes below {MOST_CLASSES}")
        found = np.zeros(len(places), dtype=DTYPE)
        found["image"] = [image_key(images.name(int(place)), batches.root) for place in places]
        for name in DTYPE.names[1:]:
            values = getattr(mine, name)
            found[name] = values.clip(LEAST_LOGARITHM) if name == "log_probability" else values
        shares = from_all((places[mine.labelled], found[mine.labelled]), ranks)
        order = np.argsort(np.concatenate([share[0] for share in shares]))
        return np.concatenate([share[1] for share in shares])[order]


def image_key(name: str, root: str | None) -> int:
    """See `image` above."""
    below = name if root is None else name.removeprefix(str(Path(root))).lstrip("/")
    return int.from_bytes(hashlib.sha256(below.encode()).digest()[:8], "little")
