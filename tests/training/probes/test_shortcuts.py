"""No probe is solved without seeing two places together: what adds up pixels, colours or patches stays at chance."""

import numpy as np
import pytest

from training.data.probes import PROBES

from .drawn import draw
from .shortcuts import accuracy, bag_of_patches, histogram, is_chance, pixels

SHORTCUTS = {"pixels": pixels, "histogram": histogram, "bag of patches": bag_of_patches}


@pytest.mark.parametrize("name", sorted(set(PROBES) - {"texture"}))
def test_shortcuts_stay_at_chance(name):
    images, labels = draw(name, 1200)
    for shortcut, features in SHORTCUTS.items():
        share, asked = accuracy(features(images), labels)
        assert is_chance(share, asked), f"{shortcut}: {100 * share:.1f} %"


def test_textures_are_a_shortcut_by_design():
    """A bag of patches is right about the stripes each time, and so about the arrangement never where they disagree."""
    (images, labels), (others, disagreeing) = draw("texture", 512), draw("texture", 512, "validation")
    both, answers = [*images, *others], [*labels, *disagreeing]
    share, _ = accuracy(bag_of_patches(np.stack(both)), np.array(answers))
    assert share == 0
    assert is_chance(*accuracy(histogram(images), labels))
