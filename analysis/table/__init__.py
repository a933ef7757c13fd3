"""The comparison as tables: on the terminal, as Markdown, CSV and LaTeX."""

from pathlib import Path

from ..comparison import Comparison
from .latex import to_latex
from .markdown import to_markdown
from .terminal import print_comparison

__all__ = ["print_comparison", "to_latex", "to_markdown", "write_tables"]


def write_tables(comparison: Comparison, folder: Path) -> list[Path]:
    """Write `comparison` to `folder`.

    Returns:
        `comparison.md`, `comparison.csv`, `comparison.tex` and, where speed was measured, `speed.csv`. The CSV files
        have every column, in plain units; the others leave out what is empty and say once what all rows share.
    """
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
