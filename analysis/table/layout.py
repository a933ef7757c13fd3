"""Which columns a table shows: none that is empty, and none that says the same in every row."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ..comparison import Comparison
from ..sections import Section
from .columns import SPEED_COLUMNS, Cell, Column, comparison_columns, section_columns


@dataclass(frozen=True)
class Layout:
    """A table ready to be printed.

    Attributes:
        shared: what is the same in all rows, heading -> text.
        section_starts: rows that begin another group: another data set, recipe or scale, or the controls.
    """

    columns: Sequence[Column]
    cells: Sequence[Sequence[Cell]]
    shared: Mapping[str, str]
    section_starts: frozenset[int]

    def shared_sentence(self) -> str:
        """E.g. `All rows: data digits, recipe short.`, or nothing."""
        if not self.shared:
            return ""
        return f"All rows: {', '.join(f'{heading} {text}' for heading, text in self.shared.items())}."

    def essential(self) -> "Layout":
        """Without the columns that only whoever has space needs."""
        return self.without({column.name for column in self.columns if not column.essential})

    def without(self, names: Collection[str]) -> "Layout":
        """Without the columns called `names`."""
        kept = [index for index, column in enumerate(self.columns) if column.name not in names]
        return replace(
            self,
            columns=[self.columns[index] for index in kept],
            cells=[[cells[index] for index in kept] for cells in self.cells],
        )


def lay_out_comparison(comparison: Comparison) -> Layout:
    """The comparison itself."""
    sections = ["comparison", "control"]
    columns = comparison_columns(comparison.rows)
    if comparison.sweep is not None:
        columns = [column for column in columns if column.name != "sweep"]
    return _lay_out(comparison.rows, columns, sections)


def lay_out_speed(comparison: Comparison) -> Layout:
    """Every measurement of speed."""
    return _lay_out(comparison.speed, SPEED_COLUMNS, ["network", "mixer", "scale", "dim"])


def lay_out_section(section: Section) -> Layout:
    """What an analysis found."""
    return _lay_out(section.rows, section_columns(section), ["scale", "data"])


def _lay_out(rows: pd.DataFrame, columns: Sequence[Column], sections: Sequence[str]) -> Layout:
    records = rows.to_dict("records")
    shown, shared = [], {}
    for column in columns:
        cells = [column.cell(row) for row in records]
        texts = {cell.text for cell in cells}
        if texts <= {""}:
            continue
        if column.sparse:
            texts.discard("")
        if column.condition and len(records) > 1 and len(texts) == 1:
            shared[column.heading] = texts.pop()
        else:
            shown.append((column, cells))
    groups = rows[list(sections)].astype("string").fillna("")
    changes = (groups != groups.shift()).any(axis=1)
    return Layout(
        columns=[column for column, _ in shown],
        cells=list(zip(*(cells for _, cells in shown), strict=True)),
        shared=shared,
        section_starts=frozenset(index for index, changed in enumerate(changes) if changed and index),
    )
