"""Which of the names there are somebody may have meant by one that there is not."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most like `name`, None where none is. Of dotted names, one whose last part fits is as good."""
    choices = list(choices)
    close = get_close_matches(name, choices, n=1)
    if close:
        return close[0]
    by_last_part = {choice.rpartition(".")[2]: choice for choice in reversed(choices)}
    close = get_close_matches(name.rpartition(".")[2], by_last_part, n=1)
    return by_last_part[close[0]] if close else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A question to end a sentence with, e.g. `; did you mean halo?`, or nothing."""
    found = nearest(name, choices)
    return f"; did you mean {found}?" if found is not None else ""
