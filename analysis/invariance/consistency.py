"""What the answers to the views of all images say."""

import numpy as np


def scores(standard: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """Accuracy of a view, and how often its answer is the standard view's, right or wrong.

    Args:
        standard, seen: what was answered to the same images in the same order, see `training.outcomes`.

    Raises: ValueError where they are of other images.
    """
    if not np.array_equal(standard["image"], seen["image"]):
        raise ValueError("the outcomes are of other images than the standard view's")
    return {
        "images": len(seen),
        "top1_percent": 100 * float(seen["top1"].mean()),
        "top5_percent": 100 * float(seen["top5"].mean()),
        "consistency_percent": 100 * float((seen["answer"] == standard["answer"]).mean()),
    }
