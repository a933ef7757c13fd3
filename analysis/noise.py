"""When a measurement of speed is too noisy to be taken for a number."""

NOISY_ABOVE_PERCENT = 3.0
"""An inter-quartile range above this share of the median: something else was running, or the clock was not steady."""

NOISY_SIGN = "†"
"""Stands in tables behind the number of such a row."""


def iqr_percent(median: float, iqr: float) -> float:
    """The inter-quartile range as a share of the median."""
    return 100 * iqr / median


def is_noisy(median: float | None, iqr: float | None) -> bool:
    """Whether a row deserves a flag; one without numbers does not."""
    return median is not None and iqr is not None and iqr_percent(median, iqr) > NOISY_ABOVE_PERCENT
