"""The comparison as tables: on the terminal, as Markdown, CSV and LaTeX."""

from pathlib import Path

import pandas as pd

from ..comparison import Comparison
from .latex import to_latex
from .markdown import to_markdown
from .terminal import print_comparison

__all__ = ["print_comparison", "to_latex", "to_markdown", "write_tables"]


def write_tables(comparison: Comparison, folder: Path) -> list[Path]:
    """Write `comparison` to `folder`.

    Returns:
        `comparison.md`, `comparison.csv`, `comparison.tex`; where speed was measured, `speed.csv`; of each analysis
        TASK.csv and TASK_observations.csv. The CSV files have every column, in plain units; the others leave out what
        is empty and say once what all rows share.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "comparison.md": to_markdown(comparison),
        "comparison.csv": _csv(comparison.rows),
        "comparison.tex": to_latex(comparison),
    }
    if not comparison.speed.empty:
        speed = comparison.speed.drop(columns="network_key")
        texts["speed.csv"] = _csv(speed)
    for section in comparison.sections:
        texts[f"{section.task}.csv"] = _csv(section.rows)
        texts[f"{section.task}_observations.csv"] = _csv(section.observations)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _csv(rows: pd.DataFrame) -> str:
    return rows.to_csv(index=False, float_format="%.10g", lineterminator="\n")
