"""Views of images against the authors' and against answers worked out by hand."""

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.invariance.consistency import scores
from analysis.invariance.protocols import BY_KIND, STANDARD, SideBySide, check_shifts, views_of
from analysis.invariance.strengths import AUTHORS_RATIOS, KINDS, PROTOCOLS, shifts_at
from analysis.invariance.views import (
    DOWN_LEFT,
    EIGHT_DIRECTIONS,
    LEFT,
    RIGHT,
    SEVEN_DIRECTIONS,
    UP,
    Picture,
    Preparation,
    fractional_shift,
    mirrored,
    recentred_shift,
    rotated_after_crop,
    rotated_before_crop,
    scaled,
    true_shift,
)
from tests.golden.analysis.pictures import picture, summary
from tests.training.examples import data_settings
from training.data.transform import validation_transform

GOLDEN = Path(__file__).parents[1] / "golden" / "analysis" / "views_343x256_seed0.npz"
IMAGENET = Preparation(224, 0.875, "bicubic")
MEAN, STD = np.array([0.485, 0.456, 0.406])[:, None, None], np.array([0.229, 0.224, 0.225])[:, None, None]


def authors_view(seen, kind, strength, direction):
    if kind == "translation":
        return recentred_shift(seen, SEVEN_DIRECTIONS[int(direction)], int(strength))
    view = {"pre_rotation": rotated_before_crop, "post_rotation": rotated_after_crop, "scale": scaled}[kind]
    return view(seen, float(strength))


def test_views_are_those_of_the_authors_code():
    stored, seen = np.load(GOLDEN), Picture(picture(343, 256, seed=0), IMAGENET)
    assert len(stored) == 1 + 6 * 7 + 2 * 5 + 8
    for name in stored:
        kind, strength, direction = [*name.split("/"), "", ""][:3]
        view = seen.standard if kind == "standard" else authors_view(seen, kind, strength, direction)
        normalised = (np.asarray(view).transpose(2, 0, 1) / 255 - MEAN) / STD
        np.testing.assert_allclose(summary(normalised), stored[name], rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("shape", [(343, 256), (256, 257), (400, 333), (120, 97)], ids=str)
def test_the_standard_view_is_that_of_validation(shape):
    whole = picture(*shape, seed=1)
    transform = validation_transform(data_settings("imagenet"))
    assert np.array_equal(np.asarray(Picture(whole, IMAGENET).standard), transform(np.asarray(whole)))


def test_the_authors_steps():
    assert shifts_at(224) == list(range(0, 65, 4))
    assert shifts_at(32) == list(range(10))
    sides = [int(224 / ratio) for ratio in AUTHORS_RATIOS]
    assert sides == [1120, 689, 497, 389, 320, 271, 235, 208, 186, 169, 154, 142, 131, 122, 114]
    assert set(BY_KIND) == set(KINDS)


def numbered(height, width):
    """An image whose pixels say where they are: column, row, 255."""
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([columns, rows, np.full_like(rows, 255)], -1).astype(np.uint8))


def test_a_window_that_leaves_the_image_is_centred_again_in_the_authors_protocol_only():
    seen = Picture(numbered(16, 21), Preparation(14, 0.875, "bicubic"))  # which is resized to itself
    to_right = np.asarray(recentred_shift(seen, RIGHT, 6))  # columns 9 to 20, of which 2 are missing
    assert to_right[0, :, 0].tolist() == [0, *range(9, 21), 0]
    assert to_right[0, :, 2].tolist() == [0, *[255] * 12, 0]
    truly = np.asarray(true_shift(seen, RIGHT, 6))  # 4 to 17, moved by 6: halves go to the even pixel
    assert truly[0, :, 0].tolist() == [*range(10, 21), 0, 0, 0]
    upwards = np.asarray(recentred_shift(seen, UP, 4))  # rows -3 to 10
    assert upwards[:, 0, 1].tolist() == [0, *range(11), 0, 0]
    assert np.asarray(true_shift(seen, UP, 4))[:, 0, 1].tolist() == [0, 0, 0, *range(11)]


def test_no_shift_is_the_standard_view_but_for_the_authors_at_odd_sizes():
    for width, alike in ((341, True), (343, False), (256, True)):
        seen = Picture(picture(256, width, seed=0), IMAGENET)
        assert (recentred_shift(seen, RIGHT, 0) == seen.standard) is alike
        assert true_shift(seen, RIGHT, 0) == seen.standard


def test_fractions_of_a_pixel_add_up_to_true_shifts_and_move_a_ramp_by_as_much():
    seen = Picture(picture(343, 256, seed=2), IMAGENET)
    for direction in EIGHT_DIRECTIONS:
        assert fractional_shift(seen, direction, 1.0) == true_shift(seen, direction, 1)
    ramp = np.tile(4 * np.arange(40), (40, 1)).astype(np.uint8)
    seen = Picture(Image.fromarray(np.stack([ramp] * 3, -1)), Preparation(35, 0.875, "bicubic"))
    still, moved = (np.asarray(image).astype(int) for image in (seen.standard, fractional_shift(seen, LEFT, 0.25)))
    assert (still - moved == 1).all()
    everything = Picture(numbered(16, 16), Preparation(32, 1.0, "bicubic"))  # leaves nothing around the window
    assert fractional_shift(everything, DOWN_LEFT, 0.5).size == (32, 32)


def test_mirrors_and_quarter_turns_of_a_square_are_exact():
    seen = Picture(numbered(16, 16), Preparation(16, 1.0, "bicubic"))
    pixels = np.asarray(seen.standard)
    assert np.array_equal(np.asarray(mirrored(seen, "horizontal")), pixels[:, ::-1])
    assert np.array_equal(np.asarray(mirrored(seen, "vertical")), pixels[::-1])
    assert np.array_equal(np.asarray(rotated_after_crop(seen, 90)), np.rot90(pixels))
    smaller = np.asarray(scaled(seen, 2.0))  # 8 pixels in the middle of 16
    assert (smaller[4:12, 4:12, 2] == 255).all()
    assert smaller[..., 2].sum() == 64 * 255


def drawn(protocol, views=(), images=200):
    """The views of shift 1 of many images."""
    kept = [*views, *views_of("translation", [1], protocol)]
    transform, pixels, found = SideBySide(kept, Preparation(14, 0.875, "bicubic")), np.asarray(numbered(16, 16)), []
    for seed in range(images):
        random.seed(seed)
        found.append(transform(pixels)[..., -3:])
    return found


def test_directions_are_drawn_for_each_image_and_do_not_depend_on_other_views():
    moved = {
        name: {(int(view[7, 7, 0]) - 8, int(view[7, 7, 1]) - 8) for view in drawn(name)}
        for name in ("authors", "corrected")
    }
    assert moved["authors"] == set(SEVEN_DIRECTIONS)
    assert moved["corrected"] - moved["authors"] == {DOWN_LEFT}
    with_others = drawn("authors", views=[STANDARD, *views_of("translation", [0, 3], "authors")])
    assert all(map(np.array_equal, drawn("authors"), with_others))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("size", "side", "most"), [(14, 16, 14), (14, 17, 14), (13, 16, 13), (8, 8, 7)])
def test_a_shift_that_leaves_nothing_is_refused(protocol, size, side, most):
    preparation = Preparation(size, size / side, "bicubic")
    seen, shift = Picture(numbered(side, side), preparation), true_shift if protocol == "corrected" else recentred_shift
    check_shifts([most], preparation, protocol)
    assert all(np.asarray(shift(seen, direction, most))[..., 2].any() for direction in EIGHT_DIRECTIONS)
    with pytest.raises(ValueError, match=rf"task.shifts: {most + 1} pixels leave nothing to see .* at most {most}$"):
        check_shifts([most + 1], preparation, protocol)


def test_consistency_counts_equal_answers_right_or_wrong():
    def outcomes(answers, top1):
        found = np.zeros(4, dtype=[("image", "<u8"), ("answer", "<u2"), ("top1", "?"), ("top5", "?")])
        found["image"], found["answer"], found["top1"], found["top5"] = range(4), answers, top1, True
        return found

    standard, seen = outcomes([1, 2, 3, 4], [1, 1, 0, 0]), outcomes([1, 5, 3, 6], [1, 0, 0, 0])
    assert scores(standard, seen) == {
        "images": 4, "top1_percent": 25.0, "top5_percent": 100.0, "consistency_percent": 50.0
    }  # fmt: skip
    with pytest.raises(ValueError, match="other images"):
        scores(standard, seen[:3])
