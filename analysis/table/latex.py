"""The comparison as a LaTeX table; the document needs the package booktabs."""

from ..comparison import Comparison
from .columns import Cell
from .layout import Layout, lay_out_comparison

ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "−": r"$-$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "√": r"$\surd$",
    "≤": r"$\leq$",
    "–": "--",
    "†": r"$\dagger$",
}


def to_latex(comparison: Comparison) -> str:
    """A `table` environment with booktabs rules: the essential columns, and below them how to read the numbers."""
    layout = lay_out_comparison(comparison).essential()
    title = "Comparison of token mixers" + (f", sweep {comparison.sweep}" if comparison.sweep else "")
    marks = (
        r"Bold: better than all others; $\approx$: equivalent to the best within the margin; ?: unresolved; "
        "no sign: worse; italic: controls."
    )
    lines = [
        r"% Needs \usepackage{booktabs}.",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(f'{title}. {layout.shared_sentence()}').rstrip()} {marks}}}",
        r"\small",
        rf"\begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in layout.columns)}}}",
        r"\toprule",
        " & ".join(escape(column.heading) for column in layout.columns) + r" \\",
        " & ".join(f"({escape(column.unit)})" if column.unit else "" for column in layout.columns) + r" \\",
        r"\midrule",
        *_body(layout),
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\medskip",
        r"\begin{minipage}{\linewidth}\footnotesize",
        *(escape(note.text) + r"\par" for note in comparison.notes),
        r"\end{minipage}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _body(layout: Layout) -> list[str]:
    lines = []
    for index, cells in enumerate(layout.cells):
        if index in layout.section_starts:
            lines.append(r"\midrule")
        lines.append(" & ".join(_cell(cell) for cell in cells) + r" \\")
    return lines


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if text.startswith("-"):
        text = f"$-${text[1:]}"
    forms = {
        "best": rf"\textbf{{{text}}}",
        "near": rf"{text} $\approx$",
        "open": f"{text} ?",
        "control": rf"\textit{{{text}}}",
    }
    return forms.get(cell.mark, text)


def escape(text: str) -> str:
    """`text` as LaTeX prints it, letter by letter."""
    return "".join(ESCAPES.get(character, character) for character in text)
