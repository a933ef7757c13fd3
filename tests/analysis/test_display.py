import io
import re

from rich.console import Console
from rich.table import Table

from analysis.display import NetworkCost, networks_table, operators_table, stages_table
from analysis.display_speed import curve_table, speeds_table


def printed(table: Table) -> list[list[str]]:
    """Cells of each line of a table as a wide terminal shows it."""
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    lines = console.export_text().splitlines()
    return [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in lines]


def test_networks_stand_one_a_row() -> None:
    lines = printed(
        networks_table(
            [
                NetworkCost("halo", "micro", 4_389_672, 847_354_880, 6_376_488),
                NetworkCost("contnet_tiny", None, 5_888_992, 1_000_000_000, 9_000_000),
            ]
        )
    )
    assert ["mixer or network", "scale", "params M", "MACs G", "activations M"] in lines
    assert ["halo", "micro", "4.39", "0.847", "6.38"] in lines
    assert ["contnet_tiny", "", "5.89", "1.000", "9.00"] in lines


def test_published_values_have_columns_where_any_is_known() -> None:
    costs = [
        NetworkCost("contnet_tiny", None, 5_888_992, 867_200_000, 9_000_000, published_params=5.8e6),
        NetworkCost("mine", "micro", 1_000_000, 2_000_000_000, 3_000_000),
    ]
    lines = printed(networks_table(costs, rule="conv_linear"))
    assert ["contnet_tiny", "", "5.89", "0.867", "9.00", "5.80", ""] in lines
    assert ["mine", "micro", "1.00", "2.000", "3.00", "", ""] in lines
    assert any("counted by the rule conv_linear" in cell for line in lines for cell in line)


def test_stages_have_shares_and_a_total() -> None:
    stages = [
        {"name": "stem", "params": 1_000_000, "macs": 1_000_000_000, "activations": 500_000},
        {"name": "stages.0", "params": 2_000_000, "macs": 3_000_000_000, "activations": 1_500_000},
    ]
    lines = printed(stages_table(stages))
    assert ["stem", "1.00", "1.000", "25.0%", "0.50"] in lines
    assert ["total", "3.00", "4.000", "100.0%", "2.00"] in lines


def test_a_network_without_products_has_no_shares() -> None:
    assert ["stem", "1.00", "0.000", "", "0.00"] in printed(
        stages_table([{"name": "stem", "params": 1_000_000, "macs": 0, "activations": 0}])
    )


def test_operators_have_shares() -> None:
    lines = printed(operators_table({"linear": 3_000_000_000, "dynamic_convolution": 1_000_000_000}))
    assert ["dynamic convolution", "1.000", "25.0%"] in lines


def columns_of(table: Table) -> list[list[str]]:
    """The texts of each line of a table that has no lines between its cells; empty cells are left out."""
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    return [re.split(r" {2,}", line.strip()) for line in console.export_text().splitlines()]


def speed(**changes: object) -> dict[str, object]:
    conditions = {"mode": "training", "compiled": True, "precision": "bf16", "batch_size": 8, "resolution": 224}
    conditions |= {"columns": None, "dim": None, "threads": 2, "implementation": "torch", "candidate": "halo"}
    numbers = {"images_per_second": 19.32, "latency_ms": 414.1, "latency_iqr_ms": 2.5, "peak_memory_mib": 812.6}
    speedup = dict.fromkeys(("speedup", "speedup_low", "speedup_high", "speedup_over"))
    return conditions | numbers | speedup | {"status": "completed"} | changes


NUMBERS = ("images_per_second", "latency_ms", "latency_iqr_ms", "peak_memory_mib")


def test_out_of_memory_is_said_and_has_no_numbers() -> None:
    lines = columns_of(
        speeds_table([speed(), speed(batch_size=64, status="out_of_memory", **dict.fromkeys(NUMBERS))]),
    )
    assert ["halo", "8", "19.3", "414.1 ± 2.5", "813"] in lines
    assert ["halo", "64", "out of memory"] in lines


def test_what_all_speeds_have_in_common_is_said_once() -> None:
    lines = columns_of(speeds_table([speed(), speed(candidate="sra")]))
    title = " ".join(line[0] for line in lines[:3])
    assert title.startswith("Speed, training, compiled, bf16, by torch, batch 8, 224 pixels a side, 2 threads")
    assert ["network", "images/s", "ms ± IQR", "peak MiB"] in lines


def test_a_noisy_speed_has_a_sign_and_a_caption() -> None:
    quiet = columns_of(speeds_table([speed(latency_ms=100.0, latency_iqr_ms=3.0)]))
    assert not any("†" in cell for line in quiet for cell in line)
    noisy = columns_of(speeds_table([speed(latency_ms=100.0, latency_iqr_ms=3.1), speed(candidate="sra")]))
    assert any("100.0 ± 3.1 †" in line for line in noisy)
    assert "above 3 % of the median" in " ".join(line[0] for line in noisy[-5:])


def test_a_speedup_has_its_interval_and_its_reference() -> None:
    faster = speed(candidate="sra", speedup=1.824, speedup_low=1.79, speedup_high=1.85, speedup_over="halo")
    few_turns = speed(candidate="dcnv3", speedup=0.5, speedup_over="halo")
    lines = columns_of(speeds_table([speed(), faster, few_turns]))
    assert [line[-1] for line in lines if line[0] in ("sra", "dcnv3")] == ["1.82 [1.79, 1.85]", "0.50"]
    assert "× halo" in lines[2]
    several = columns_of(speeds_table([faster, few_turns | {"speedup_over": "eager"}]))
    assert "0.50 × eager" in several[-1]


def test_cost_against_resolution_has_a_column_for_each_mixer() -> None:
    rows = [
        speed(candidate=name, dim=96, resolution=side, columns=columns, latency_ms=cost)
        for name, side, columns, cost in (
            ("halo", 14, None, 8.0),
            ("halo", 56, 28, 80.0),
            ("sra", 14, None, 4.0),
        )
    ]
    lines = columns_of(curve_table(rows))
    assert ["pixels", "halo", "sra"] in lines
    assert ["14", "1", "0.5"] in lines
    assert ["56×28", "10"] in lines
