import io

from rich.console import Console
from rich.table import Table

from analysis.display import NetworkCost, networks_table, operators_table, speeds_table, stages_table


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


def test_out_of_memory_is_said_and_has_no_numbers() -> None:
    conditions = {"mode": "training", "compiled": True, "precision": "bf16", "batch_size": 8, "resolution": 224}
    numbers = {"images_per_second": 19.32, "latency_ms": 414.1, "latency_iqr_ms": 2.5, "peak_memory_mib": 812.6}
    rows = [
        conditions | {"status": "completed"} | numbers,
        conditions | {"status": "out_of_memory"} | dict.fromkeys(numbers),
    ]
    lines = printed(speeds_table(rows))
    assert ["training", "compiled", "bf16", "8", "224", "19.3", "414.10", "2.50", "813"] in lines
    assert ["training", "compiled", "bf16", "8", "224", "out of memory", "", "", ""] in lines
