"""A comparison as Markdown, CSV and LaTeX, and on the terminal."""

import csv
import io
import re

from .record_tree import cell_record, failed, train_record, write_cell
from .tables import markdown_tables, printed, written


def test_a_row_whose_cells_all_failed_has_empty_numbers(tmp_path):
    write_cell(tmp_path, failed(train_record("halo", 0.0), "RuntimeError: boom"))
    ((row,),) = markdown_tables(written(tmp_path, tmp_path / "tables")["comparison.md"])
    assert (row["seeds"], row["not completed"]) == ("0 of 1", "1 failed")
    assert set(row) == {"network", "mixer", "scale", "task", "data", "recipe", "resolution", "precision", "sweep"} | {
        "seeds",
        "not completed",
        "published params",
        "published top-1 (%, ImageNet-1k)",
    }


def test_markdown(two_mixers, tmp_path):
    text = written(two_mixers, tmp_path / "tables")["comparison.md"]
    comparison, speed = markdown_tables(text)
    halo, sra, identity = comparison
    assert halo["mixer"] == "halo"
    assert halo["params (M)"] == "4.39"
    assert halo["MACs (M)"] == "61.2"
    assert halo["top-1 (%)"] == "97.50 ± 0.71 ?"
    assert halo["inference (images/s)"] == "400"
    assert halo["inference latency (ms)"] == "20.0 ± 0.5"
    assert halo["training memory (MiB)"] == "778"
    assert sra["top-1 (%)"] == "90.50 ± 0.71"
    assert sra["training step (images/s)"] == "out of memory"
    assert identity["mixer"] == "*identity*"
    assert identity["top-1 (%)"] == "96.40 ?"
    assert sra["against the best of the others"] == "worse by 2.83 to 11.17 points"
    assert identity["inference (images/s)"] == ""
    assert [row["mode"] for row in speed] == ["inference", "training"] * 2
    assert "All rows: network unified, scale micro, task train, data digits, recipe short, resolution 32" in text
    assert "MACs difference" not in text  # an empty column


def test_csv_has_plain_numbers(two_mixers, tmp_path):
    text = written(two_mixers, tmp_path / "tables")["comparison.csv"]
    halo, _, identity = csv.DictReader(io.StringIO(text))
    assert (halo["mixer"], halo["params"], halo["macs"]) == ("halo", "4389672", "61234567")
    assert (halo["top1_percent"], halo["top1_spread"]) == ("97.5", "0.7071067812")
    assert (identity["inference_latency_ms"], identity["top1_spread"]) == ("", "")


def latex_rows(text: str) -> list[list[str]]:
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    return [re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in body.split("\n") if line.endswith(r"\\")]


def test_latex(two_mixers, tmp_path):
    text = written(two_mixers, tmp_path / "tables")["comparison.tex"]
    headings = text[text.index(r"\toprule") :].split("\n")[1].removesuffix(r" \\").split(" & ")
    rows = [dict(zip(headings, cells, strict=True)) for cells in latex_rows(text)]
    assert rows[0]["top-1"] == r"97.50 $\pm$ 0.71 ?"
    assert rows[2]["mixer"] == r"\textit{identity}"
    (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert len(columns) == len(headings)


def test_latex_is_balanced_and_escaped(tmp_path):
    nasty = r"a_b%c&d#e$f{g}h~i^j\k<l>ü"
    write_cell(tmp_path, train_record("halo", 97.0, mixer={"name": nasty}))
    write_cell(tmp_path, train_record("halo", 95.0, mixer={"name": "other"}))
    text = written(tmp_path, tmp_path / "tables")["comparison.tex"]
    escaped = r"a\_b\%c\&d\#e\$f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k\textless{}l\textgreater{}ü"
    assert latex_rows(text)[0][0] == escaped
    depth = 0
    for character in re.sub(r"\\[{}]", "", text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
    opened = re.findall(r"\\(begin|end)\{(\w+\*?)\}", text)
    stack = []
    for kind, name in opened:
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []
    # Nothing is left that only UTF-8-aware engines with the right font print.
    assert set(text) - set(map(chr, range(128))) == {"ü"}


def test_markdown_escapes(tmp_path):
    write_cell(tmp_path, failed(train_record("a|b", 97.0, mixer={"name": "a|b*"}), "Error: <script>\nand | more"))
    text = written(tmp_path, tmp_path / "tables")["comparison.md"]
    assert r"a\|b\*" in text
    assert r"Error: \<script\> and \| more" in text


def test_terminal(two_mixers):
    text = printed(two_mixers, width=60)
    (halo,) = [line.split() for line in text.split("\n") if line.startswith("halo")]
    assert halo == ["halo", "97.50", "±", "0.71", "?", "2", "75.8", "4.39", "61.2", "400", "125", "778"]
    assert "…" not in text  # a file takes lines of any length
    assert "≈ within 0.5 points of the best, ? unresolved, no sign: worse" in text


def test_a_narrow_terminal_drops_columns_and_says_which(two_mixers):
    text = printed(two_mixers, width=64, force_terminal=True, color_system=None)
    assert "too narrow for" in text
    assert "97.50 ± 0.71" in text
    assert "…" not in text
    assert max(len(line) for line in text.split("\n")) <= 64


def test_damaged_records_are_noted_in_the_table(two_mixers, tmp_path):
    (two_mixers / "digits" / "record.json").write_text("{")
    texts = written(two_mixers, tmp_path / "tables")
    assert "1 unreadable records left out" in texts["comparison.md"]


def test_large_networks_are_counted_in_giga(tmp_path):
    write_cell(tmp_path, cell_record("complexity", "halo", results={"params": 4_389_672, "macs": 5_298_000_000}))
    ((row,),) = markdown_tables(written(tmp_path, tmp_path / "tables")["comparison.md"])
    assert row["MACs (G)"] == "5.298"
    assert "top-1 (%)" not in row
    assert "data" not in row  # the network was not trained
