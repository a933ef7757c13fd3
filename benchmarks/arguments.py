"""What numbers the commands here take, as argparse's types: others end in one sentence that names the option."""

import argparse
import math

import torch

from analysis.settings import MOST_THREADS


def count(text: str) -> int:
    """A whole number, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number, at least 1")
    return int(text)


def threads(text: str) -> int:
    """A number of CPU threads that an interpreter survives."""
    if count(text) > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{text} must be at most {MOST_THREADS}")
    return int(text)


def seconds(text: str) -> float:
    """Finite, at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text} must be a finite number of seconds, at least 0")
    return value


def device(text: str) -> str:
    """A device that torch has here."""
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"{text} is no device here ({str(error).partition(chr(10))[0]})") from error
    return text
