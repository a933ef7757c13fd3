"""Terminals and files that know only some characters, as under `LC_ALL=C`: others are spelt out, none is an error."""

import codecs
import sys
import unicodedata

SPELT_OUT = "spelt_out"
SPELLINGS = {"±": "+-", "≈": "~", "≥": ">=", "≤": "<=", "→": "->", "×": "x", "·": "*", "…": "...", "µ": "u", "²": "2"}
SPELLINGS |= {"–": "-", "—": "-", "−": "-", "“": '"', "”": '"', "‘": "'", "’": "'", "━": "-", "╸": "-", "╺": "-"}


def accept_any_encoding() -> None:
    """From here on, what the encoding of standard output or standard error lacks is written in characters that it has.

    For the beginning of a command: many a number here has a ± behind it.
    """
    codecs.register_error(SPELT_OUT, _spell_out)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a test has put something else in its place
            stream.reconfigure(errors=SPELT_OUT)


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelling, error.object[error.start : error.end])), error.end


def _spelling(letter: str) -> str:
    """As listed, else the letter below its accents, else a question mark."""
    plain = SPELLINGS.get(letter, unicodedata.normalize("NFKD", letter)).encode("ascii", "ignore").decode()
    return plain or "?"
