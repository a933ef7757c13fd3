"""Probes: labels that another program finds in the pixels, balance, determinism, and what cannot be drawn."""

import re

import numpy as np
import pytest

from training.data import SOURCES, check_data
from training.data.probes import PROBES

from .drawn import draw, settings
from .solvers import SOLVERS

HARDER = {
    "matching": {"distance": 24, "clutter": 30, "glyphs": 8},
    "retrieval": {"pairs": 8, "gap": 12},
    "relation": {"distance": 20, "clutter": 20},
    "counting": {"objects": 4},
    "displacement": {"distance": 24, "shift": 4},
    "texture": {"side": 16},
    "contour": {"curves": 3},
}


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("options", [{}, HARDER], ids=["default", "harder"])
@pytest.mark.parametrize("name", PROBES)
def test_a_solver_that_sees_only_pixels_finds_the_label(name, options, split):
    data = settings(name, options.get(name), resolution=48)
    images, labels = draw(name, 100, split, options=data.options, resolution=48)
    found = np.array([SOLVERS[name](image, data.options) for image in images])
    # Where curves cross at a small angle, following one is a guess.
    assert (found == labels).mean() >= (0.95 if name == "contour" else 1)


@pytest.mark.parametrize("name", PROBES)
def test_classes_are_equally_frequent(name):
    _, labels = draw(name, 1000)
    counts = np.bincount(labels)
    assert len(counts) == settings(name).num_classes
    assert counts.max() - counts.min() <= 0.15 * counts.mean()


@pytest.mark.parametrize("name", PROBES)
def test_images_depend_on_the_seed_and_the_split_only(name):
    images, labels = draw(name, 1500)
    first, first_labels = draw(name, 1100)
    assert np.array_equal(first, images[:1100])
    assert np.array_equal(first_labels, labels[:1100])
    assert not np.array_equal(draw(name, 1100, "validation")[0], first)
    assert not np.array_equal(draw(name, 1100, options=settings(name, {"seed": 1}).options)[0], first)


@pytest.mark.parametrize("name", PROBES)
def test_the_largest_that_is_named_can_be_drawn(name):
    """For every option but the seed: too much is refused, what the message calls the largest is not."""
    for option in set(settings(name).options) - {"seed"}:
        with pytest.raises(ValueError, match=f"data.options.{option}=9996: must be from .* the largest") as refused:
            check_data(settings(name, {option: 9996}))
        largest = int(re.search(r"to (\d+), the largest", str(refused.value))[1])
        images, _ = draw(name, 20, options=settings(name, {option: largest}).options)
        assert images.shape[-1] == settings(name).resolution


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        ({"distanse": 4}, {}, "has no 'distanse'; choices: "),
        ({"seed": 1.5}, {}, "data.options.seed=1.5: must be a whole number"),
        ({"seed": -1}, {}, "data.options.seed=-1: must be a whole number, at least 0"),
        ({}, {"resolution": 30}, "data.resolution=30: a probe needs a multiple of 4"),
        ({}, {"resolution": 8}, "data.resolution=8"),
        ({}, {"train_images": None}, "data.train_images=None: images are drawn, so it must be given"),
    ],
)
def test_what_cannot_be_drawn_is_refused(name, options, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_data(settings(name, options, **changes))


def test_more_pairs_than_values_would_be_unbalanced():
    with pytest.raises(ValueError, match=r"data\.options.pairs=6: must be a multiple of data.num_classes=4"):
        check_data(settings("retrieval", {"pairs": 6}))


def test_other_sources_take_no_options():
    data = settings("matching", source="digits")
    with pytest.raises(ValueError, match=r"data\.options=.*: data.source=digits takes none"):
        check_data(data)


def test_cells_of_one_process_share_their_images():
    data = settings("counting")
    assert SOURCES[data.source].load(data, "train") is SOURCES[data.source].load(data, "train")
