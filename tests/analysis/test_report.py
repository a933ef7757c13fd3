import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis.comparison import NoRecordsError, compare
from analysis.report import write_report
from analysis.report.charts import charts
from analysis.report.label_places import CHARACTER_WIDTH, HEIGHT, place_labels
from analysis.report.pareto_front import pareto_front
from analysis.report.style import styles

from .record_tree import ENVIRONMENT, IMAGENET, cell_record, failed, speed_row, train_record, write_cell

CHROMIUM = shutil.which("chromium")
CHROMIUM_ARGUMENTS = (
    *("--no-sandbox", "--headless", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
# Mixer -> top-1 of two seeds, MACs, inference and training images/s.
MEASURED = {
    "halo": ((97.0, 98.0), 61_000_000, 210.0, 70.0),
    "sra": ((94.0, 95.0), 44_000_000, 400.0, 130.0),
    "dcnv3": ((97.6, 98.2), 46_000_000, 150.0, 44.0),
    "identity": ((88.0, 88.4), 40_000_000, 800.0, 260.0),
}


def fill(root: Path, scale: str = "micro", factor: int = 1) -> None:
    """Four mixers at one scale: trainings of two seeds with metrics, speeds at two batch sizes."""
    for mixer, (scores, macs, inference, training) in MEASURED.items():
        for seed, top1 in enumerate(scores):
            record = train_record(mixer, top1, 4_000_000 * factor, macs * factor, seed=seed, scale=scale)
            write_cell(root, record, curve=[50.0, 80.0, top1])
        rows = [
            speed_row(mode, speed * gain / factor, batch_size=batch_size)
            for mode, speed in (("inference", inference), ("training", training))
            for batch_size, gain in ((8, 1.0), (64, 1.25))
        ]
        if mixer == "dcnv3":
            rows[-1] |= {"status": "out_of_memory", "images_per_second": None, "latency_ms": None}
        write_cell(root, cell_record("speed", mixer, scale=scale, rows=rows))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    fill(root)
    fill(root, scale="tiny", factor=7)
    reason = "ValueError: <script>alert('no')</script> & more"
    write_cell(root, failed(train_record("pooling", 0.0), reason))
    return root


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory) -> Path:
    return write_report(runs, tmp_path_factory.mktemp("report"), sweep="digits")


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


def test_nothing_to_report_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(NoRecordsError, match="no records to compare under"):
        write_report(tmp_path / "runs", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_networks_without_training_or_speed_make_a_page_without_charts(tmp_path):
    for mixer in ("halo", "sra"):
        results = {"params": 4_000_000, "macs": 5_000_000_000, "activations": 7_000_000}
        write_cell(tmp_path, cell_record("complexity", mixer, results=results, data=IMAGENET))
    text = write_report(tmp_path, tmp_path / "report").read_text(encoding="utf-8")
    assert "<figure" not in text
    assert "5.000" in text


@pytest.fixture(scope="module")
def drawn(runs):
    return charts(compare(runs))


def test_there_is_a_chart_for_everything_that_was_measured(drawn):
    assert [chart.title for chart in drawn] == [
        "Top-1 against parameters",
        "Top-1 against MACs",
        "Top-1 against inference speed",
        "Top-1 against training speed",
        "Learning curves, micro",
        "Learning curves, tiny",
        "Inference speed against batch size",
        "Training speed against batch size",
        "Inference speed against batch size",
        "Training speed against batch size",
    ]
    assert [chart.conditions for chart in drawn[-4:]] == 2 * ["micro, eager, fp32"] + 2 * ["tiny, eager, fp32"]
    assert ["out of memory" in chart.caption for chart in drawn[-4:]] == [False, True, False, True]


def chart_data(spec: dict) -> list[dict]:
    return [row for rows in spec["datasets"].values() for row in rows]


def test_the_pareto_chart_has_means_and_spreads(drawn):
    (halo,) = [row for row in chart_data(drawn[1].spec) if row.get("network") == "halo tiny" and "dx" not in row]
    assert halo["cost"] == pytest.approx(427.0)  # M, as the largest network has fewer than 10⁹ MACs
    assert halo["top1"] == 97.5
    assert (halo["low"], halo["high"]) == (pytest.approx(97.5 - 0.5**0.5), pytest.approx(97.5 + 0.5**0.5))
    assert halo["accuracy"] == "97.50 ± 0.71, 2 seeds"


def test_the_band_of_a_learning_curve(drawn):
    last = {row["label"]: row for row in chart_data(drawn[4].spec) if row["epoch"] == 3}
    assert last["halo"]["top1"] == 97.5
    assert last["halo"]["low"] == pytest.approx(97.5 - 0.5**0.5)
    assert last["halo"]["seeds"] == 2


def test_speeds_of_two_environments_are_not_in_one_chart(tmp_path):
    for mixer in ("halo", "sra", "dcnv3", "pooling"):
        write_cell(tmp_path, train_record(mixer, 90.0))
        fingerprint = "aaaa1111" if mixer in ("halo", "sra") else "bbbb2222"
        environment = ENVIRONMENT | {"fingerprint": fingerprint}
        write_cell(tmp_path, cell_record("speed", mixer, rows=[speed_row()], environment=environment))
    drawn = charts(compare(tmp_path, mixed_fingerprints=True))
    speed = [chart for chart in drawn if chart.title == "Top-1 against inference speed"]
    assert [chart.conditions.rpartition(", ")[2] for chart in speed] == ["environment aaaa1111", "environment bbbb2222"]
    assert {row["label"] for row in chart_data(speed[0].spec)} == {"halo", "sra"}


def test_mixers_alone_are_drawn_as_cost_against_resolution(tmp_path):
    for mixer, costs in (("halo", (8.0, 40.0)), ("sra", (4.0, 60.0))):
        alone = {"subject": "mixer", "dim": 96, "candidate": mixer, "config": {"mixer": {"name": mixer}}}
        rows = [
            speed_row(resolution=side, columns=columns, latency_ms=8 * cost, **alone)
            for side, columns, cost in ((14, None, costs[0]), (56, 28, costs[1]))
        ]
        record = cell_record("speed", mixer, rows=rows, scale=None)
        record["config"]["subject"] = "mixer"
        write_cell(tmp_path, record)
    [chart] = charts(compare(tmp_path))
    assert chart.title == "Mixers alone: cost of inference against resolution"
    assert chart.conditions == "dim 96, batch size 8, eager, fp32"
    points = {(row["label"], row["shape"]): row["cost"] for row in chart_data(chart.spec) if "label" in row}
    assert points == {
        ("halo", "14×14"): 8.0,
        ("halo", "56×28"): 40.0,
        ("sra", "14×14"): 4.0,
        ("sra", "56×28"): 60.0,
    }
    text = write_report(tmp_path, tmp_path / "report").read_text(encoding="utf-8")
    assert "Mixers alone" in text
    assert 'id="comparison"' not in text


def test_implementations_of_a_mixer_are_lines_of_their_own(tmp_path):
    for mixer, implementation in (("dcnv3", "cpp"), ("dcnv3", "reference"), ("halo", "cpp")):
        rows = [speed_row(implementation=implementation, batch_size=size) for size in (1, 8)]
        settings = {"name": mixer, "implementation": implementation}
        write_cell(tmp_path, cell_record("speed", mixer, mixer=settings, rows=rows))
    [chart] = charts(compare(tmp_path))
    assert {row["label"] for row in chart_data(chart.spec)} == {"dcnv3 cpp", "dcnv3 reference", "halo"}


def test_published_accuracies_are_drawn_beside_measured_ones_of_the_same_data_only(tmp_path, drawn):
    for mixer in ("halo", "sra"):
        write_cell(tmp_path, train_record(mixer, 70.0, data=IMAGENET))
    (same, *_) = charts(compare(tmp_path))
    assert "Crosses: published" in same.caption
    assert {row["published"] for row in chart_data(same.spec) if row.get("published")} == {75.8, 72.8}
    assert "published" not in drawn[0].caption


@pytest.mark.parametrize(
    ("points", "less_is_better", "front"),
    [
        ([(1, 80), (2, 90), (3, 85), (4, 95)], True, [0, 1, 3]),
        ([(1, 80), (2, 90), (3, 85), (4, 75)], False, [1, 2, 3]),
        ([(1, 80), (1, 90), (2, 90)], True, [1]),
        ([(1, 80), (1, 80)], True, [0, 1]),
        ([], True, []),
    ],
)
def test_pareto_front(points, less_is_better, front):
    assert pareto_front(points, less_is_better) == front


def test_names_in_a_chart_do_not_cover_each_other():
    names = ["depthwise_conv", "dynamic_depthwise_conv", "halo", "sra"]
    points = [(200.0, 100.0), (206.0, 103.0), (209.0, 97.0), (320.0, 101.0)]
    boxes = []
    for name, (x, y), place in zip(names, points, place_labels(names, points, (400, 200)), strict=True):
        width = CHARACTER_WIDTH * len(name)
        left = x + place.dx - {"left": 0, "center": width / 2, "right": width}[place.align]
        boxes.append((left, y + place.dy - HEIGHT / 2, left + width, y + place.dy + HEIGHT / 2))
    for index, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0
        assert right <= 400
        for other_left, other_top, other_right, other_bottom in boxes[:index]:
            assert right <= other_left or other_right <= left or bottom <= other_top or other_bottom <= top


def test_a_network_keeps_its_colour_whatever_else_is_drawn():
    few, many = styles(["halo", "mine"]), styles(["dcnv3", "halo", "identity", "mine", "sra"])
    assert few["halo"] == many["halo"]
    assert few["mine"] == many["mine"]
    assert len({style.color for label, style in many.items() if not style.control}) == 4
    assert many["identity"].control
    assert list(many)[-1] == "identity"


def test_records_tables_and_reports_need_no_torch():
    program = "import sys, analysis.records, analysis.table, analysis.report; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# In a browser -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(report):
    """The report in headless Chromium without a network; what the console said is in `page.messages`."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_ARGUMENTS))
        context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
        page = context.new_page()
        page.messages, page.requests = [], []
        page.on("console", lambda message: page.messages.append(message.text))
        page.on("pageerror", lambda error: page.messages.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(report.as_uri())
        page.wait_for_selector("html[data-drawn=yes]")
        yield page
        browser.close()


def column(page, heading: str, section: str = "#comparison") -> list[str]:
    """The visible cells below `heading`, top to bottom."""
    return page.evaluate(
        """([section, heading]) => {
            const table = document.querySelector(section + " table");
            const titles = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
            const index = titles.findIndex((title) => title.startsWith(heading));
            return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[index].textContent);
        }""",
        [section, heading],
    )


def sort(page, heading: str) -> None:
    page.locator("#comparison thead .sort").filter(has_text=re.compile(f"^{heading}")).first.click()


@pytest.fixture
def fresh(page):
    """The page as it was opened."""
    page.reload()
    page.wait_for_selector("html[data-drawn=yes]")
    return page


def test_the_browser_finds_nothing_wrong(page, report):
    assert page.messages == []
    assert {url for url in page.requests if not url.startswith("data:")} == {report.as_uri()}


def test_rows(fresh):
    mixers = ["dcnv3", "halo", "sra", "identity"]
    assert column(fresh, "mixer") == [*mixers[:3], "identity", "pooling", *mixers]
    assert column(fresh, "top-1")[:3] == ["97.90 ± 0.42", "≈ 97.50 ± 0.71", "94.50 ± 0.71"]
    assert column(fresh, "not completed")[4] == "1 failed"
    assert fresh.locator("#comparison output").inner_text() == "9 rows"
    assert fresh.locator("#unfinished tbody tr").count() == 1


def test_a_click_sorts_by_number_and_keeps_empty_cells_last(fresh):
    sort(fresh, "MACs")
    macs = column(fresh, "MACs")
    assert macs[:4] == ["40.0", "44.0", "46.0", "61.0"]  # as texts, 280.0 would come before 40.0
    assert macs[4:] == ["280.0", "308.0", "322.0", "427.0", ""]
    sort(fresh, "MACs")
    assert column(fresh, "MACs") == ["427.0", "322.0", "308.0", "280.0", "61.0", "46.0", "44.0", "40.0", ""]
    heading = fresh.locator("#comparison thead th").filter(has_text="MACs").first
    assert heading.get_attribute("aria-sort") == "descending"
    sort(fresh, "mixer")
    assert column(fresh, "mixer")[:3] == ["dcnv3", "dcnv3", "halo"]
    assert heading.get_attribute("aria-sort") is None


def test_sorting_works_from_the_keyboard(fresh):
    fresh.locator("#comparison thead .sort").filter(has_text="params").first.focus()
    fresh.keyboard.press("Enter")
    assert column(fresh, "params")[0] == "4.00"


def test_filters(fresh):
    fresh.locator("#comparison select[name=scale]").select_option("tiny")
    assert set(column(fresh, "scale")) == {"tiny"}
    assert fresh.locator("#comparison output").inner_text() == "4 of 9 rows"
    fresh.locator("#comparison input[type=search]").fill("HALO")
    assert column(fresh, "mixer") == ["halo"]
    fresh.locator("#comparison select[name=scale]").select_option("")
    assert column(fresh, "mixer") == ["halo", "halo"]
    fresh.locator("#comparison input[type=search]").fill("")
    assert len(column(fresh, "mixer")) == 9


def test_charts_have_their_marks(page):
    assert page.locator("figure svg.marks").count() == page.locator("figure").count() == 10
    # Two scales of four mixers; dcnv3 ran out of memory in training.
    for figure, count in zip(page.locator("figure.pareto").all(), (8, 8, 8, 6), strict=True):
        assert figure.locator(".mark-symbol.role-mark path").count() == count
        assert figure.locator(".mark-rule.role-mark line").count() == count
        assert figure.locator(".mark-line.role-mark path").count() == 1
        names = figure.locator(".mark-text.role-mark text").all_text_contents()
        assert len(names) == count
        assert "halo micro" in names
    curves = page.locator("figure.curve").first
    assert curves.locator("path[aria-roledescription='line mark']").count() >= 4
    exhausted = page.locator("figure.speed").nth(1).locator(".mark-text.role-mark text")
    assert exhausted.all_text_contents() == ["×"]


def test_the_legend_highlights_one_network_in_all_charts(fresh):
    def opacities(label: str) -> set[str]:
        names = fresh.locator("figure.pareto .mark-text.role-mark text").filter(has_text=label)
        return {name.get_attribute("opacity") or "1" for name in names.all()}

    button = fresh.locator(".legend button").filter(has_text="halo").first
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    fresh.wait_for_function(
        "[...document.querySelectorAll('svg text')].some((t) => t.getAttribute('opacity') === '0.08')"
    )
    assert opacities("halo") == {"1"}
    assert opacities("sra") == {"0.08"}
    button.click()
    assert button.get_attribute("aria-pressed") == "false"


def test_pointing_at_a_mark_tells_its_numbers(page):
    mark = page.locator("figure.pareto").first.locator(".mark-symbol.role-mark path").first
    mark.scroll_into_view_if_needed()
    mark.hover(force=True)
    tooltip = page.locator("#vg-tooltip-element")
    tooltip.wait_for(state="visible")
    assert "top-1 (%)" in tooltip.inner_text()
    assert "2 seeds" in tooltip.inner_text()


def test_the_page_is_dark_where_the_reader_is(page):
    background = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) == "rgb(20, 23, 27)"
    page.emulate_media(color_scheme="light")
    assert page.evaluate(background) == "rgb(255, 255, 255)"


def test_a_narrow_window_scrolls_the_table_not_the_page(fresh):
    fresh.set_viewport_size({"width": 400, "height": 800})
    assert fresh.evaluate("document.documentElement.scrollWidth") == 400
    fresh.set_viewport_size({"width": 1280, "height": 900})


def test_data_in_the_page_is_json(report):
    specs = re.findall(r'<script type="application/json" class="spec">(.*?)</script>', report.read_text("utf-8"))
    assert len(specs) == 10
    for spec in specs:
        assert json.loads(spec)["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
