"""Batches of images that are transformed one by one, in worker processes, by timm's transforms.

What a batch holds is a function of the epoch and of its place in it, so an epoch can be entered anywhere. Each rank
takes every n-th image of a batch; together they have what one process would.
"""

import itertools
import os
import random
import signal
import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from ..distributed import ALONE, Ranks
from ..seeds import IMAGE, SHUFFLE, generator, seed_global_generators
from ..settings import DataSettings, RecipeSettings
from .decoding import Decoded, UndecodableError, decode
from .findings import CorruptImagesError, Finding, Findings
from .images import NO_LABEL, Images
from .transform import Transform, training_transform, validation_transform

REPLACEMENTS = 8
"""So many others are tried in the place of a damaged image."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)

Draw = tuple[int, int, int]
"""Epoch, index of the image, and how often the image came before in this epoch."""


class Sample(NamedTuple):
    """An image of H, W, 3 (uint8) with its label or labels, and what there is to say about its file."""

    pixels: Tensor
    label: Tensor
    findings: list[Finding]


class TransformedImages(Dataset[Sample]):
    """Images after their transform, in training or for validation.

    Transforms draw from global generators; these are set from the epoch, the image's index and its repetition
    before each image, so neither the number of workers nor the images before it matter.

    In training, an image drawn at random takes the place of one that is damaged; in validation, nothing does.
    """

    def __init__(self, images: Images, data: DataSettings, transform: Transform, seed: int, *, training: bool) -> None:
        self.images = images
        self.data = data
        self.training = training
        self.seed = seed
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, draw: Draw) -> Sample:
        epoch, index, repetition = draw
        seed_global_generators(self.seed, IMAGE, epoch, index, repetition)
        findings: list[Finding] = []
        for attempt in range(REPLACEMENTS + 1 if self.training else 1):
            candidate = random.randrange(len(self.images)) if attempt else index
            try:
                pixels, remark = self._read(candidate)
            except (OSError, UndecodableError) as error:
                findings.append(Finding(self.images.name(candidate), str(error), corrupt=True))
                continue
            if remark:
                findings.append(Finding(self.images.name(candidate), remark, corrupt=False))
            return Sample(torch.from_numpy(self.transform(pixels)), self.images.labels[candidate], findings)
        black = np.zeros((self.data.resolution, self.data.resolution, 3), dtype=np.uint8)
        nothing = torch.from_numpy(self.transform(black))  # of the others' shape, and without a label
        return Sample(nothing, torch.full_like(self.images.labels[index], NO_LABEL), findings)

    def _read(self, index: int) -> Decoded:
        content = self.images.read(index)
        return Decoded(content, "") if isinstance(content, np.ndarray) else decode(content, self.data.decoder)


def collate(samples: list[Sample]) -> tuple[Tensor, Tensor, list[Finding]]:
    """Pixels and labels as tensors, in a worker straight into shared memory."""
    pixels = default_collate([sample.pixels for sample in samples])
    labels = default_collate([sample.label for sample in samples])
    return pixels, labels, [finding for sample in samples for finding in sample.findings]


class EpochSampler(Sampler[Draw]):
    """This rank's images of one epoch, from a batch on. Epochs travel with the index: workers need no message.

    For training, all images in a new order each epoch, each `repeats` times in a row until the epoch is as long as
    without repeats (repeated augmentation, arXiv 1901.09335); an incomplete last batch is left out. For validation,
    every image once, in order.
    """

    def __init__(
        self, count: int, batch_size: int, seed: int, *, training: bool, repeats: int = 1, ranks: Ranks = ALONE
    ) -> None:
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.training = training
        self.repeats = repeats
        self.ranks = ranks
        self.epoch = 0
        self.first_batch = 0

    def __len__(self) -> int:
        """Images of this rank in a whole epoch."""
        if self.training:
            return self.count // self.batch_size * (self.batch_size // self.ranks.count)
        return len(range(self.ranks.rank, self.count, self.ranks.count))

    def __iter__(self) -> Iterator[Draw]:
        if not self.training:
            mine = range(self.ranks.rank, self.count, self.ranks.count)[self.first_batch * self.batch_size :]
            return ((self.epoch, index, 0) for index in mine)
        order = torch.randperm(self.count, generator=generator(self.seed, SHUFFLE, self.epoch))
        batches = torch.arange(self.count // self.batch_size * self.batch_size).view(-1, self.batch_size)
        places = batches[self.first_batch :, self.ranks.rank :: self.ranks.count].flatten()
        indices, repetitions = order[places // self.repeats], places % self.repeats
        return zip(itertools.repeat(self.epoch), indices.tolist(), repetitions.tolist())


def leave_signals_to_the_parent(worker: int) -> None:
    """A cluster sends its signals to all processes; the parent needs its workers until it has put things in order.

    Only the parent's own signal ends them: it is sent, and waited for, where Python exits with the loader still there.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    threading.Thread(target=_end_with_the_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_the_parent(parent: int) -> None:
    while signal.sigwaitinfo(SIGNALS).si_pid != parent:
        pass
    os._exit(0)


class FileBatches:
    """Training batches (with a recipe: augmented, shuffled) or validation batches.

    Args:
        transform: what happens to each validation image instead of resizing and cropping at the centre.
    """

    def __init__(
        self,
        images: Images,
        data: DataSettings,
        recipe: RecipeSettings | None,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        ranks: Ranks = ALONE,
        transform: Transform | None = None,
    ) -> None:
        if transform is None:
            transform = validation_transform(data) if recipe is None else training_transform(data, recipe)
        self.device = device
        self.findings = Findings(len(images), data.max_corrupt_share)
        self.classes = images.classes
        self.images, self.root = images, data.root
        self.training = recipe is not None
        self.sampler = EpochSampler(
            len(images),
            batch_size,
            seed,
            training=self.training,
            repeats=recipe.augmentation_repeats if recipe else 1,
            ranks=ranks,
        )
        self.loader = DataLoader(
            TransformedImages(images, data, transform, seed, training=self.training),
            batch_size=batch_size // ranks.count if self.training else batch_size,
            sampler=self.sampler,
            num_workers=data.workers,
            persistent_workers=data.workers > 0,
            collate_fn=collate,
            worker_init_fn=leave_signals_to_the_parent,
            pin_memory=device.type == "cuda",
        )

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixel values between 0 and 255 as B, 3, H, W uint8 in channels-last memory, and labels; on the device.

        A transform that gives several views side by side makes batches of B, 3 × views, H, W.
        """
        self.sampler.epoch, self.sampler.first_batch = epoch, first_batch
        for pixels, labels, findings in self.loader:
            self.findings.add(findings)
            if self.training and int(labels.min()) == NO_LABEL:
                raise CorruptImagesError(f"{findings[-1].name} and {REPLACEMENTS} others in its place cannot be read")
            yield (
                pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2),
                labels.to(self.device, non_blocking=True),
            )
