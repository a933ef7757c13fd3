"""The comparison as tables: on the terminal, as Markdown, CSV and LaTeX."""

from pathlib import Path

from rich.console import Console

from ..comparison import Comparison, compare
from ..settings import TableSettings
from .latex import to_latex
from .markdown import to_markdown
from .terminal import print_comparison

__all__ = ["print_comparison", "to_latex", "to_markdown", "write_tables"]


def write_tables(
    root: Path | str,
    output: Path | str,
    sweep: str | None = None,
    console: Console | None = None,
    *,
    fingerprint: str | None = None,
    mixed_fingerprints: bool = False,
    mixed_code: bool = False,
    margin: float = TableSettings.margin,
) -> list[Path]:
    """Compare the records under `root`, of one sweep or all, print the table and write it to the folder `output`.

    Args:
        fingerprint: of the only environment whose speeds are wanted.
        mixed_fingerprints: whether speeds of several environments may stand in one column.
        mixed_code: whether results of several versions of the code may be averaged and ranked together.
        margin: differences of top-1 up to this, in percentage points, are equivalent.

    Returns:
        `comparison.md`, `comparison.csv`, `comparison.tex` and, where speed was measured, `speed.csv`. The CSV files
        have every column, in plain units; the others leave out what is empty and say once what all rows share.

    Raises:
        NoRecordsError: there is no record to compare.
        SpeedEnvironmentError: see `compare`.
    """
    comparison = compare(
        root,
        sweep,
        fingerprint=fingerprint,
        mixed_fingerprints=mixed_fingerprints,
        mixed_code=mixed_code,
        margin=margin,
    )
    print_comparison(comparison, console or Console())
    return write_comparison(comparison, Path(output))


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the files of `write_tables`."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "comparison.md": to_markdown(comparison),
        "comparison.csv": comparison.rows.to_csv(index=False, float_format="%.10g", lineterminator="\n"),
        "comparison.tex": to_latex(comparison),
    }
    if not comparison.speed.empty:
        speed = comparison.speed.drop(columns="network_key")
        texts["speed.csv"] = speed.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]
