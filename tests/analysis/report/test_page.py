"""The report as a file: whole, self-contained, and safe whatever the records say."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

from analysis.comparison import compare
from analysis.report import write_report
from tasks import TASKS
from tasks.table import TableSettings
from tests.analysis.record_tree import IMAGENET, cell_record, write_cell


class Elements(HTMLParser):
    """Start tags with attributes, and whether all tags are closed in order."""

    VOID = ("meta", "input", "wbr", "br", "link", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(report):
    text = report.read_text(encoding="utf-8")
    elements = Elements()
    elements.feed(text)
    assert elements.open == []
    for tag, attributes in elements.found:
        assert "src" not in attributes, tag
        assert tag != "link"
    assert "$" + "title" not in text
    assert "<title>Token mixers compared: digits</title>" in text


def test_reasons_are_text(report):
    text = report.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "ValueError: &lt;script&gt;alert(&#x27;no&#x27;)&lt;/script&gt; &amp; more" in text


def test_the_first_chart_is_a_picture_too(report):
    assert report.with_name("pareto.svg").read_text(encoding="utf-8").startswith("<svg")
    assert report.with_name("pareto.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_to_report_is_said_before_anything_is_written(tmp_path, capsys):
    assert TASKS["table"].run(tmp_path / "runs", None, TableSettings(destination=str(tmp_path / "report"))) == 1
    assert "no records to compare under" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_networks_without_training_or_speed_make_a_page_without_charts(tmp_path):
    for mixer in ("halo", "sra"):
        results = {"params": 4_000_000, "macs": 5_000_000_000, "activations": 7_000_000}
        write_cell(tmp_path, cell_record("complexity", mixer, results=results, data=IMAGENET))
    text = write_report(compare(tmp_path), tmp_path / "report").read_text(encoding="utf-8")
    assert "<figure" not in text
    assert "5.000" in text


def test_data_in_the_page_is_json(report):
    specs = re.findall(r'<script type="application/json" class="spec">(.*?)</script>', report.read_text("utf-8"))
    assert len(specs) == 10
    for spec in specs:
        assert json.loads(spec)["$schema"].startswith("https://vega.github.io/schema/vega-lite/")


def test_records_tables_and_reports_need_no_torch():
    program = "import sys, analysis.records, analysis.table, analysis.report; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
