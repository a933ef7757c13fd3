"""Each probe's question answered from the pixels alone: no network, and nothing of what drew them but the glyphs."""

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from training.data.probes.glyphs import draw_glyphs

CELL = 4
Patch = np.ndarray
DISTANCE = 12  # of a counted pair's parts


def cells(image: np.ndarray) -> dict[tuple[int, int], Patch]:
    """What is not empty, by its row and column in pixels."""
    found = {}
    for row in range(0, image.shape[1], CELL):
        for column in range(0, image.shape[2], CELL):
            patch = image[:, row : row + CELL, column : column + CELL]
            if patch.any():
                found[row, column] = patch
    return found


def is_coloured(patch: Patch) -> bool:
    return bool((patch[0] != patch[2]).all())


def matching(image: np.ndarray, options: Mapping[str, int]) -> int:
    found = {place: number(patch[0]) for place, patch in cells(image).items()}
    asked = {place: glyph for place, glyph in found.items() if glyph < 8}  # the rest is clutter
    assert sorted(Counter(asked.values()).values()) == [2, 2]
    return int(
        all(glyph == asked.get((row, column + options["distance"]), glyph) for (row, column), glyph in asked.items())
    )


def retrieval(image: np.ndarray, options: Mapping[str, int]) -> int:
    """The value's number among the glyphs."""
    found = cells(image)
    [asked] = [patch for patch in found.values() if is_coloured(patch)]
    [key] = [place for place, patch in found.items() if not is_coloured(patch) and (patch[0] == asked[0]).all()]
    return number(found[key[0], key[1] + options["gap"]][0]) - 11


def number(patch: Patch) -> int:
    return next(index for index, glyph in enumerate(draw_glyphs(15)) if (np.sign(patch) == glyph).all())


def number_and_sign(patch: Patch) -> tuple[int, int]:
    for index, glyph in enumerate(draw_glyphs(8)):
        if (np.abs((np.sign(patch) * glyph).sum())) == CELL * CELL:
            return index, int(np.sign((np.sign(patch) * glyph).sum()))
    raise AssertionError("not a glyph")


def relation(image: np.ndarray, options: Mapping[str, int]) -> int:
    columns = {number_and_sign(patch[0])[0]: column for (_, column), patch in cells(image).items()}
    assert abs(columns[0] - columns[1]) == options["distance"]
    return int(columns[0] < columns[1])


def counting(image: np.ndarray, options: Mapping[str, int]) -> int:
    found = {place: number_and_sign(patch[0]) for place, patch in cells(image).items()}
    firsts = [(place, sign) for place, (index, sign) in found.items() if index == 0]
    assert len(firsts) == options["objects"]
    return sum(found.get((row, column + DISTANCE)) == (1, sign) for (row, column), sign in firsts)


def displacement(image: np.ndarray, options: Mapping[str, int]) -> int:
    filled = image[0] != 0
    columns = np.flatnonzero(filled.any(0))
    left, right = columns.min(), columns.max() - 7
    top_left = np.flatnonzero(filled[:, left : left + 8].any(1)).min()
    top_right = np.flatnonzero(filled[:, right : right + 8].any(1)).min()
    first, second = (
        image[0, row : row + 8, column : column + 8] for row, column in ((top_left, left), (top_right, right))
    )
    assert (first == second).all()
    moved = top_right - top_left, right - left - options["distance"]
    return [(0, -1), (0, 1), (-1, 0), (1, 0)].index(tuple(int(np.sign(part)) for part in moved))


def texture(image: np.ndarray, options: Mapping[str, int]) -> int:
    """The arrangement, whatever the stripes."""
    filled = image[0] != 0
    rows, columns = np.flatnonzero(filled.any(1)), np.flatnonzero(filled.any(0))
    return int(not filled[rows.min(), columns.min()])


def contour(image: np.ndarray, options: Mapping[str, int]) -> int:
    """Follows the curve from the left marker, a column at a time, straight on where there is a choice."""
    ink = np.abs(image[0, CELL:-CELL, CELL:-CELL]).astype(float)
    width, rows = ink.shape[1], np.arange(ink.shape[0])
    markers = [np.average(rows, weights=ink[:, column] > 100) for column in (1, width - 2)]
    place, slope = markers[0], 0.0
    for column in range(CELL, width - CELL):
        place += slope
        near = ink[:, column] * (np.abs(rows - place) <= 2.5)
        if near.sum() > 60:
            seen = np.average(rows, weights=near * np.exp(-(((rows - place) / 1.5) ** 2)))
            slope += 0.35 * (seen - place)
            place += 0.7 * (seen - place)
    return int(abs(place - markers[1]) < ink.shape[0] / options["curves"] / 2)


SOLVERS: Mapping[str, Callable[[np.ndarray, Mapping[str, int]], int]] = {
    solver.__name__: solver for solver in (matching, retrieval, relation, counting, displacement, texture, contour)
}
