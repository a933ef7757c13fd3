"""What a network answers to every validation image, whole: on the disk, because it need not fit in memory.

One file with one entry an image, in the order of the data set. It grows batch by batch, so that a run that was killed
goes on behind the last batch that is complete.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .data import Batches
from .evaluate import only


def stored_logits(
    batches: Batches,
    logits: Callable[[Tensor], Tensor],
    path: Path,
    *,
    classes: int,
    batch_size: int,
    on_batch: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Logits and labels of all validation images: those that `path` has, and the rest answered and added to it.

    Args:
        logits: pixel values between 0 and 255 (B, 3, H, W) -> logits (B, classes), float32.
        path: it must belong to these images, weights, code and this batch size: nothing is checked here.
        classes: how many the network tells apart.
        on_batch: called after each batch, those that `path` had included.

    Returns:
        A read-only memory map: a structured array of one entry an image, `logits` (classes) float32 and `labels` (K)
        int64, which are `NO_LABEL` where there are fewer, and for an image that could not be read.

    Raises: OSError, e.g. on a full disk; what was answered until then is kept.
    """
    rights = batches.images.labels.view(len(batches.images), -1).shape[1]
    dtype = np.dtype([("logits", "<f4", (classes,)), ("labels", "<i8", (rights,))])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    images = path.stat().st_size // dtype.itemsize
    done = len(batches) if images == len(batches.images) else images // batch_size
    for _ in range(done):
        on_batch()
    if done < len(batches):
        with path.open("r+b") as file:
            file.truncate(done * batch_size * dtype.itemsize)
            file.seek(0, os.SEEK_END)
            for pixels, labels in batches.epoch(0, first_batch=done):
                file.write(_entries(pixels, labels, batches, logits, dtype).tobytes())
                file.flush()
                os.fsync(file.fileno())
                on_batch()
    return np.memmap(path, dtype, mode="r")


@torch.no_grad()
def _entries(
    pixels: Tensor, labels: Tensor, batches: Batches, logits: Callable[[Tensor], Tensor], dtype: np.dtype
) -> np.ndarray:
    answered = logits(pixels)
    if batches.classes is not None:
        answered = only(batches.classes.to(answered.device), answered)
    entries = np.empty(len(labels), dtype)
    entries["logits"] = answered.cpu().numpy()
    entries["labels"] = labels.view(len(labels), -1).cpu().numpy()
    return entries
