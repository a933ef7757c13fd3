"""The comparison on the terminal: the essential columns, what did not complete, how to read it in short."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..comparison import Comparison
from .columns import Cell
from .layout import Layout, lay_out_comparison, lay_out_section, lay_out_speed

STYLES = {"best": "bold green", "near": "green", "control": "italic dim", "problem": "red"}
SIGNS = {"best": " *", "near": " ≈", "open": " ?"}
# What a narrow terminal does without, in this order.
DROPPED_FIRST = (
    "top1_without_mixers_percent",
    "published_params",
    "published_macs",
    "training_peak_memory_mib",
    "published_top1_percent",
    "seeds",
    "training_images_per_second",
    "inference_images_per_second",
)
UNBOUNDED = 10_000


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print `comparison`. Where the output is a file, lines are as long as the table needs."""
    # Where no network was measured, mixers alone were.
    whole = lay_out_speed(comparison) if comparison.rows.empty else lay_out_comparison(comparison)
    layout = whole.essential()
    dropped = []
    if console.is_terminal:
        present = {column.name for column in layout.columns}
        for name in DROPPED_FIRST:
            if name in present and _width(layout, console) > console.width:
                layout = layout.without({name})
                dropped.append(name)
    else:
        widest = max(_width(each, console) for each in (layout, *map(lay_out_section, comparison.sections)))
        console = Console(file=console.file, width=max(console.width, widest), color_system=None)
    title = "Comparison" if comparison.sweep is None else f"Comparison: {comparison.sweep}"
    console.print(Text(title, style="bold"))
    for warning in comparison.warnings:
        _print_text(console, warning, "bold yellow")
    _print_text(console, layout.shared_sentence(), "dim")
    if layout.cells:
        console.print(_table(layout))
    for section in comparison.sections:
        found = lay_out_section(section)
        console.print(Text(f"\n{section.analysis.title}", style="bold"))
        _print_text(console, f"{section.analysis.says} {found.shared_sentence()}".strip(), "dim")
        for column in reversed(section.metrics):
            if _width(found, console) > console.width:
                found = found.without({column.name})
                dropped.append(column.label)
        console.print(_table(found))
    for cell in comparison.unfinished.to_dict("records"):
        sentence = f"{cell['name']}: {cell['status'].replace('_', ' ')}. {cell['reason'] or ''}".rstrip()
        _print_text(console, sentence, "red")
    if dropped:
        _print_text(console, f"This terminal is too narrow for {', '.join(dropped)}; the files have them.", "dim")
    for note in comparison.notes:
        _print_text(console, note.short, "dim")


def _width(layout: Layout, console: Console) -> int:
    return console.measure(_table(layout), options=console.options.update(max_width=UNBOUNDED)).maximum


def _print_text(console: Console, text: str, style: str) -> None:
    if text:
        console.print(Text(text, style=style))


def _table(layout: Layout) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1))
    for column in layout.columns:
        heading = "\n".join([*column.heading.split(), *column.unit.split(", ")]).rstrip()
        table.add_column(Text(heading), justify="right" if column.numeric else "left", vertical="bottom", no_wrap=True)
    # Where one number of a column has a sign behind it, the others keep its place free.
    marked = [any(cells[index].mark in SIGNS for cells in layout.cells) for index in range(len(layout.columns))]
    for row, cells in enumerate(layout.cells):
        if row in layout.section_starts:
            table.add_row()
        table.add_row(*(_text(cell, marked[index]) for index, cell in enumerate(cells)))
    return table


def _text(cell: Cell, marked: bool) -> Text:
    sign = SIGNS.get(cell.mark, "  ") if marked else ""
    return Text(cell.text + sign, style=STYLES.get(cell.mark, ""))
