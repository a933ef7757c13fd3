"""What tests read of a comparison: its rows, and its tables as they are written."""

import io
import re

from rich.console import Console

from analysis.comparison import compare
from analysis.table import print_comparison, write_tables


def rows_of(root, sweep=None, published=None) -> list[dict]:
    return compare(root, sweep, published).rows.to_dict("records")


def written(root, output) -> dict[str, str]:
    paths = write_tables(compare(root), output)
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def printed(root, **console) -> str:
    file = io.StringIO()
    print_comparison(compare(root), Console(file=file, **console))
    return file.getvalue()


def markdown_tables(text: str) -> list[list[dict[str, str]]]:
    """Every table of a Markdown page as rows of heading -> cell."""
    tables = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block.strip().split("\n")]
        tables.append([dict(zip(lines[0], line, strict=True)) for line in lines[2:]])
    return tables
