"""The ledger judges as it says, and its verdicts on the real networks do not change unnoticed."""

import csv
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from analysis.ledger import (
    UNEXPLAINED,
    Reason,
    Verdict,
    judge,
    ledger,
    load_reasons,
    print_ledger,
    published_figures,
    to_markdown,
    write_ledger,
)
from analysis.published import load_published
from analysis.settings import CountingRule
from architectures import list_networks

VERDICTS = Path(__file__).with_name("ledger_verdicts.csv")
REASONS = [Reason("table", "net_*", "macs", "counted otherwise")]


@pytest.mark.parametrize(
    ("quantity", "printed", "measured", "verdict", "why"),
    [
        ("macs", "3.8G", 3_771_000_000, Verdict.AGREES, "rounded"),
        ("params", "5.8M", 5_888_992, Verdict.AGREES, "truncated"),
        ("macs", "3.8G", 3_742_600_000, Verdict.DISAGREES, "counted otherwise"),
        ("macs", "3.8G", 4_000_000_000, Verdict.DISAGREES, "counted otherwise"),
        ("params", "39.6M", 36_043_112, Verdict.DISAGREES, UNEXPLAINED),
    ],
)
def test_verdicts(quantity, printed, measured, verdict, why):
    assert judge("table", "net_tiny", quantity, printed, measured, REASONS) == (verdict, why)


def test_a_reason_holds_only_for_its_own_table_and_networks():
    assert judge("other", "net_tiny", "macs", "3.8G", 1, REASONS)[1] == UNEXPLAINED
    assert judge("table", "network", "macs", "3.8G", 1, REASONS)[1] == UNEXPLAINED


def test_macs_are_asked_for_by_the_published_rule():
    asked = {}

    def measure(network, rule):
        asked[network] = rule
        return 1, 1

    ledger(["contnet_small", "deit_small_patch16_224", "dwnet_tiny", "never_published"], measure)
    assert asked == {
        "contnet_small": CountingRule.conv_linear,
        "deit_small_patch16_224": CountingRule.macs,
        "dwnet_tiny": CountingRule.authors,
        "never_published": CountingRule.macs,
    }


def test_a_network_without_published_figures_is_measured_all_the_same():
    params, macs = ledger(["never_published"], lambda network, rule: (12, 34))
    assert (params.measured, macs.measured) == (12, 34)
    assert {params.verdict, macs.verdict} == {Verdict.UNPUBLISHED}
    assert params.difference_percent is None


def test_every_published_counting_rule_is_one_of_ours():
    rules = set(load_published()["counting_rule"]) - {""}
    assert rules <= set(CountingRule)
    assert "authors" in rules


def test_what_is_written_is_what_was_judged(tmp_path):
    measured = {"contnet_base": (36_043_112, 6_374_600_000), "resnet18": (11_689_512, 1_814_073_344)}
    rows = ledger(list(measured), lambda network, rule: measured[network])
    markdown, spreadsheet = write_ledger(rows, tmp_path / "new")
    screen = StringIO()
    print_ledger(rows, Console(file=screen, width=160))

    with spreadsheet.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["network"], line["verdict"]) for line in lines] == [(row.network, row.verdict) for row in rows]
    assert int(lines[0]["measured"]) == 36_043_112
    assert float(lines[0]["difference_percent"]) == pytest.approx(-8.982, abs=1e-3)

    reason = next(row.why for row in rows if row.verdict is Verdict.DISAGREES)
    for text in (markdown.read_text(), screen.getvalue()):
        assert "disagrees [1]" in text
        assert reason in " ".join(text.split())
        assert "3 agree, 1 disagree, 0 not published" in text
    assert markdown.read_text() == to_markdown(rows)


def test_what_is_printed_first_is_where_figures_disagree():
    measured = {"contnet_base": (36_043_112, 6_374_600_000), "resnet18": (11_689_512, 1_814_073_344)}
    rows = ledger(list(measured), lambda network, rule: measured[network])
    screen = StringIO()
    print_ledger(rows, Console(file=screen, width=80), whole=False)
    lines = screen.getvalue().splitlines()
    [disagreement] = [line for line in lines if "contnet_base" in line]
    assert disagreement.split() == ["contnet_base", "params", "39.6M", "36,043,112", "-8.98", "%", "[1]"]
    assert any(line.startswith("[1] The published code has 36.0 M") for line in lines)
    assert "resnet18" not in screen.getvalue()
    assert "3 agree, 1 disagree, 0 not published" in lines
    assert "task.whole=true" in lines[-1]


@pytest.fixture(scope="module")
def rows():
    """The real networks, those with published figures: the others have nothing to agree with."""
    return ledger(list(dict.fromkeys(network for network, _ in published_figures())))


def test_no_verdict_changed(rows):
    """After a change meant to move a verdict, replace its lines in ledger_verdicts.csv by those printed here."""
    with VERDICTS.open(newline="") as file:
        _, *frozen = csv.reader(file)
    judged = [[row.network, row.quantity, row.published, row.verdict.value] for row in rows]
    assert sorted(judged) == sorted(frozen), "\n".join(",".join(line) for line in judged if line not in frozen)


def test_a_real_network_without_published_figures_is_measured():
    params, macs = ledger(["conformer_small_patch32"])
    assert params.measured == 38_853_072
    assert macs.measured == pytest.approx(7.0458e9, rel=1e-3)


def test_every_disagreement_has_one_reason_and_every_reason_a_disagreement(rows):
    tables = {key: figure["table"] for key, figure in published_figures().items()}
    disagreements = [
        (tables[row.network, row.quantity], row.network, row.quantity)
        for row in rows
        if row.verdict is Verdict.DISAGREES
    ]
    reasons = load_reasons()
    for disagreement in disagreements:
        assert sum(reason.covers(*disagreement) for reason in reasons) == 1, disagreement
    for reason in reasons:
        assert any(reason.covers(*disagreement) for disagreement in disagreements), reason


def test_every_published_network_is_registered():
    assert set(load_published()["network"]) <= set(list_networks())
