"""docs/mixers.md says what the mixers are now."""

from pathlib import Path

from .page import page

PAGE = Path(__file__).parents[2] / "docs" / "mixers.md"


def test_page_is_the_one_that_is_made() -> None:
    assert PAGE.read_text() == page(), "python -m tests.mixers.page > docs/mixers.md"
