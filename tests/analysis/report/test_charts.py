"""What is drawn: which charts, their numbers, names and colours."""

import pytest

from analysis.comparison import compare
from analysis.report import write_report
from analysis.report.charts import charts
from analysis.report.label_places import CHARACTER_WIDTH, HEIGHT, place_labels
from analysis.report.style import styles
from tests.analysis.record_tree import ENVIRONMENT, IMAGENET, cell_record, speed_row, train_record, write_cell


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
    text = write_report(compare(tmp_path), tmp_path / "report").read_text(encoding="utf-8")
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


def test_the_profile_of_probes_is_the_first_chart(tmp_path):
    """Intervals are of the spread pooled over a probe's rows: t(0.975, 2) · s / √2, with s = √2 of two rows."""
    for name, classes, scores in (("probe_relation", 2, (90.0, 92.0)), ("probe_retrieval", 4, (30.0, 31.0))):
        for mixer, gain in (("halo", 0.0), ("identity", -20.0)):
            for seed, top1 in enumerate(scores):
                data = {"name": name, "resolution": 36, "num_classes": classes}
                write_cell(tmp_path, train_record(mixer, top1 + gain, seed=seed, scale="nano", data=data))
    first, *others = charts(compare(tmp_path))
    assert first.kind == "profile"
    assert {chart.kind for chart in others} == {"pareto"}
    marks = {(row["probe"], row["label"]): row for row in chart_data(first.spec)}
    halo = marks["relation", "halo"]
    assert (halo["top1"], halo["chance"], marks["retrieval", "halo"]["chance"]) == (91.0, 50.0, 25.0)
    assert halo["high"] - halo["top1"] == pytest.approx(4.3027 * 2**0.5 / 2**0.5, abs=1e-3)
    assert marks["relation", "identity"]["control"]
    # One that learns now and then is known worse than the others: t(0.975, 1) · s / √2 of its own, cut at what can be.
    for seed, top1 in enumerate((40.0, 60.0)):
        data = {"name": "probe_relation", "resolution": 36, "num_classes": 2}
        write_cell(tmp_path, train_record("sra", top1, seed=seed, scale="nano", data=data))
    unsteady = {(row["probe"], row["label"]): row for row in chart_data(charts(compare(tmp_path))[0].spec)}
    assert (unsteady["relation", "sra"]["low"], unsteady["relation", "sra"]["high"]) == (0.0, 100.0)
    page = write_report(compare(tmp_path), tmp_path / "report")
    assert (tmp_path / "report" / "profile.png").stat().st_size > 1000
    assert page.read_text().index("Ability profile") < page.read_text().index("Top-1 against")
