"""The comparison as a Markdown page."""

from collections.abc import Sequence

from ..comparison import Comparison
from .columns import Cell, Column
from .layout import Layout, lay_out_comparison, lay_out_section, lay_out_speed

MARKS_NOTE = (
    "**Bold**: better than all others. ≈: equivalent to the best within the margin. ?: unresolved. No sign: worse. "
    "*Italic*: controls, for proportion."
)


def to_markdown(comparison: Comparison) -> str:
    """The table, how to read it, every measurement of speed and what did not complete."""
    layout = lay_out_comparison(comparison)
    title = "Comparison" if comparison.sweep is None else f"Comparison: {_escape(comparison.sweep)}"
    blocks = [
        f"# {title}",
        *(f"**{_escape(warning)}**" for warning in comparison.warnings),
        *([_escape(layout.shared_sentence()), _table(layout)] if layout.cells else []),
        "\n".join(f"- {_escape(note.text)}" for note in comparison.notes) + f"\n- {MARKS_NOTE}",
    ]
    for section in comparison.sections:
        found = lay_out_section(section)
        sentences = f"{_escape(section.analysis.says)} {_escape(found.shared_sentence())}".strip()
        blocks += [f"## {_escape(section.analysis.title)}", sentences, _table(found)]
    if not comparison.speed.empty:
        speed = lay_out_speed(comparison)
        blocks += ["## Speed, every measurement", _escape(speed.shared_sentence()), _table(speed)]
    if not comparison.unfinished.empty:
        lines = [
            f"- `{cell['name']}`: {cell['status'].replace('_', ' ')}" + _reason(cell["reason"])
            for cell in comparison.unfinished.to_dict("records")
        ]
        blocks += ["## Not completed", "\n".join(lines)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _reason(reason: str | None) -> str:
    return f". {_escape(reason)}" if reason else ""


def _table(layout: Layout) -> str:
    lines = [_line([_heading(column) for column in layout.columns])]
    lines.append(_line(["---:" if column.numeric else "---" for column in layout.columns]))
    lines += [_line([_cell(cell) for cell in cells]) for cells in layout.cells]
    return "\n".join(lines)


def _line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _heading(column: Column) -> str:
    return f"{column.heading} ({column.unit})" if column.unit else column.heading


def _cell(cell: Cell) -> str:
    text = _escape(cell.text)
    return {"best": f"**{text}**", "near": f"{text} ≈", "open": f"{text} ?", "control": f"*{text}*"}.get(
        cell.mark, text
    )


def _escape(text: str) -> str:
    """`text` with nothing in it that Markdown or HTML would take for its own, on one line."""
    for character in "\\`*_|<>[]":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
