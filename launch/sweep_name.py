"""What a sweep may be called: it names a folder, Slurm's jobs and the files of their logs."""

import re

LONGEST = 100
# Slurm puts other things in the place of `%`, and a shell in that of many more; a name that begins with a full stop is
# hidden, or leads out of the folder.
VALID = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.+-]{{0,{LONGEST - 1}}}")


def check_sweep_name(name: str) -> None:
    """Raises: ValueError with the name and the rule."""
    if VALID.fullmatch(name):
        return
    shown = name if len(name) <= LONGEST else f"{name[:20]}... ({len(name)} characters)"
    raise ValueError(
        f"sweep={shown}: must be 1 to {LONGEST} letters (a to z), digits and characters of `_.+-`, "
        "a letter, a digit or `_` first"
    )
