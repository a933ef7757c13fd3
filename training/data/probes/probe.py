"""What every probe promises: images of one question, drawn from a seed, with exact labels.

A probe asks for one ability of a spatial mixer that a stem and average pooling do not have. All but `texture` keep one
rule: **whatever the class, the expected number of times that a local patch occurs in an image is the same.** A network
that adds up what it sees patch by patch (identity as mixer: stem, MLPs, pooling, classifier) computes a logit that is
linear in these counts. Cross entropy is convex in such a logit and, by the rule, flat where the logit is constant: the
best that such a network can learn is chance, exactly. The same holds for a linear classifier on pixels, for colour
histograms, and for bags of patches of up to 9 x 9 pixels.

Everything lies on a grid of cells of CELL x CELL pixels. Sizes and distances are given in pixels.

Shape letters: N images, C channels (1 grey or 3), H rows, W columns, K objects.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from inspect import signature
from typing import Any, ClassVar, Literal

import numpy as np

CELL = 4
APART = 12
"""From one object to the next, so that no 9 x 9 patch sees both: a cell, and 8 empty pixels."""
GREY = 128
"""Of the background, and the mean of every glyph."""
MARGIN = CELL
"""Empty on all sides: zero padding would tell a stem that an object lies at the border, and so where it lies."""


class Probe(ABC):
    """A question about images of `size` x `size` pixels with `classes` answers; chance is 1 / `classes`.

    A subclass takes `(size, classes, *, options)`. Options are keyword-only integers without defaults: their values
    are written in conf/data/, once.

    Attributes:
        size: height and width inside the margin, in pixels; `cells`: the same in cells.
        channels: 1 for grey images, 3 for coloured ones.
        most_classes: how many answers there are at most, whatever the options; None: they decide.
    """

    channels: ClassVar[int] = 1
    most_classes: ClassVar[int | None] = None

    def __init__(self, size: int, classes: int) -> None:
        if size % CELL:
            raise ValueError(f"data.resolution={size}: a probe needs a multiple of {CELL}, the side of its cells")
        if self.most_classes is not None and classes > self.most_classes:
            raise ValueError(f"data.num_classes={classes}: this probe has at most {self.most_classes}")
        self.resolution = size
        self.size = size - 2 * MARGIN
        self.cells = self.size // CELL
        self.classes = classes

    @abstractmethod
    def draw(self, labels: np.ndarray, rng: np.random.Generator, split: Literal["train", "validation"]) -> np.ndarray:
        """An image without its margin for each label: int N -> uint8 N, C, H, W."""

    def check_distance(self, key: str, value: int, *, least: int, largest: int) -> None:
        """Raises: ValueError unless `value` is a multiple of CELL from `least` to `largest` pixels."""
        self.check_number(key, value, least=least, largest=largest // CELL * CELL)
        if value % CELL:
            raise ValueError(f"data.options.{key}={value}: must be a multiple of {CELL}, the side of a cell in pixels")

    def check_number(self, key: str, value: int, *, least: int, largest: int) -> None:
        """Raises: ValueError unless `value` is from `least` to `largest`."""
        if largest < least:
            raise ValueError(
                f"data.resolution={self.resolution}: too small for this probe, whose data.options.{key} is at least "
                f"{least}, with the other options as they are"
            )
        if not least <= value <= largest:
            raise ValueError(
                f"data.options.{key}={value}: must be from {least} to {largest}, the largest that fits "
                f"data.resolution={self.resolution}, with the other options as they are"
            )


PROBES: dict[str, type[Probe]] = {}


def register(name: str) -> Callable[[type[Probe]], type[Probe]]:
    """Makes a probe known as `data=probe_<name>`."""

    def add(probe: type[Probe]) -> type[Probe]:
        if name in PROBES:
            raise ValueError(f"two probes are called {name!r}")
        PROBES[name] = probe
        return probe

    return add


def build_probe(name: str, size: int, classes: int, options: dict[str, Any]) -> Probe:
    """Raises: ValueError naming the option, its value and the rule, choices, or the largest that fits."""
    keys = [key for key in signature(PROBES[name]).parameters if key not in ("size", "classes")]
    for key in options:
        if key not in keys:
            raise ValueError(f"data.options: probe {name} has no {key!r}; choices: {', '.join(keys)}")
    for key in keys:
        value = options.get(key)
        if type(value) is not int or value < 0:
            raise ValueError(f"data.options.{key}={value!r}: must be a whole number, at least 0")
    return PROBES[name](size, classes, **options)
