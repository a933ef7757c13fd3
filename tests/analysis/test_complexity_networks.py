"""The 20 unified variants and the networks of their own against the counts that were made on the authors' code.

Those counts are fvcore's and torch's on the official repositories at 224 × 224, in millions, rounded as given.
"""

import json
import subprocess
import sys
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import architectures  # noqa: F401  registers the networks with timm
from analysis.complexity import AVOIDED, PRODUCTS, TOLERANCE, measure
from analysis.settings import CountingRule
from architectures.variants import NETWORK_NAMES, VARIANTS

# mixer -> scale -> MACs by fvcore's rule, MACs of convolutions, linear layers and matrix products only.
UNIFIED = {
    "halo": {"micro": (869, 861), "tiny": (5321, 5298), "small": (9842, 9810), "base": (17073, 17030)},
    "sra": {"micro": (619, 612), "tiny": (4731, 4708), "small": (7583, 7551), "base": (13183, 13130)},
    "shifted_window": {"micro": (709, 701), "tiny": (4906, 4883), "small": (9165, 9133), "base": (16170, 16128)},
    "depthwise_conv": {"micro": (658, 648), "tiny": (5023, 4997), "small": (9425, 9388), "base": (16670, 16621)},
    "dcnv3": {"micro": (648, 636), "tiny": (4825, 4786), "small": (8225, 8173), "base": (16069, 15997)},
}
ROWS = [(mixer, scale) for mixer, scales in UNIFIED.items() for scale in scales]

# name -> MACs by each rule; None where the authors' code was not counted so.
OTHERS = {
    "dwnet_tiny": {"authors": 3742.6, "macs": 3726.9},
    "dynamic_dwnet_tiny": {"authors": 3771.0, "macs": 3753.8},
    "i_dynamic_dwnet_tiny": {"macs": 4374.1},
    "contnet_tiny": {"fvcore": 1006.2, "macs": 1000.0, "conv_linear": 867.2},
    "conformer_tiny_patch16": {"fvcore": 5250.3, "macs": 5226.0},
    "conformer_small_patch32": {"fvcore": 7087.0, "macs": 7045.8},
}


def network_name(mixer: str, scale: str) -> str:
    return f"unified_{NETWORK_NAMES[mixer]}_{scale}"


def described(name: str) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name)


def pixels_by_stage() -> list[int]:
    return [56 * 56, 28 * 28, 14 * 14, 7 * 7]


COUNT_ALL = """
import json, pathlib, re, sys
import timm, torch
import architectures
from analysis.complexity import measure

costs = {}
for name in sys.argv[1:]:
    with torch.device("meta"):
        network = timm.create_model(name)
    cost = measure(network, (224, 224))
    costs[name] = {"params": cost.params, "macs": cost.macs, "by_op": cost.by_op}
# Not getrusage, whose peak may be that of the process which started this one.
status = pathlib.Path("/proc/self/status").read_text()
print(json.dumps({"costs": costs, "peak_kib": int(re.search(r"VmHWM:\\s*(\\d+)", status)[1])}))
"""


@pytest.fixture(scope="module")
def all_variants() -> dict[str, Any]:
    """All 20 variants, counted in one fresh process."""
    names = [network_name(*row) for row in ROWS]
    command = [sys.executable, "-c", COUNT_ALL, *names]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_all_variants_are_counted_within_one_gibibyte(all_variants: dict[str, Any]) -> None:
    assert len(all_variants["costs"]) == 20
    assert all_variants["peak_kib"] < 2**20


@pytest.mark.parametrize(("mixer", "scale"), ROWS)
def test_a_variant_gives_the_totals_of_the_authors_code(mixer: str, scale: str) -> None:
    by_fvcore, products = UNIFIED[mixer][scale]
    counted = measure(described(network_name(mixer, scale)), (224, 224), rule=CountingRule.authors)
    assert counted.macs / 1e6 == pytest.approx(by_fvcore, abs=0.51)
    theirs = sum(macs for kind, macs in counted.by_op.items() if kind in PRODUCTS | {AVOIDED})
    assert theirs / 1e6 == pytest.approx(products, abs=0.51)
    assert counted.macs == sum(stage.macs for stage in counted.by_stage)


def test_only_halo_avoids_work_that_its_authors_do() -> None:
    for mixer in UNIFIED:
        counted = measure(described(network_name(mixer, "micro")), (224, 224), rule=CountingRule.authors)
        assert (counted.by_op.get(AVOIDED, 0) > 0) == (mixer == "halo")


@pytest.mark.parametrize(("mixer", "scale"), ROWS)
def test_a_variant_costs_what_its_closed_form_says(mixer: str, scale: str, all_variants: dict[str, Any]) -> None:
    name, variant = network_name(mixer, scale), VARIANTS[mixer][scale]
    network = described(name)
    mixers = 0
    around = 9 * 3 * (variant.dims[0] // 2) * 112**2 + 9 * (variant.dims[0] // 2) * variant.dims[0] * 56**2
    around += variant.dims[3] * int(1.5 * variant.dims[3]) * 49 + int(1.5 * variant.dims[3]) * 1000
    for index, (stage, dim, pixels) in enumerate(zip(network.stages, variant.dims, pixels_by_stage(), strict=True)):
        side = round(pixels**0.5)
        mixers += sum(block.mixer.macs((side, side)) for block in stage.blocks)
        around += len(stage.blocks) * 2 * variant.mlp_ratio[index] * dim**2 * pixels
        if index:
            around += 9 * variant.dims[index - 1] * dim * pixels
    assert all_variants["costs"][name]["macs"] == pytest.approx(mixers + around, rel=TOLERANCE)


@pytest.mark.parametrize(("mixer", "scale"), ROWS)
def test_a_variant_costs_half_of_torchs_flops(mixer: str, scale: str, all_variants: dict[str, Any]) -> None:
    name = network_name(mixer, scale)
    network = described(name).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, 224, 224, device="meta"))
    assert all_variants["costs"][name]["macs"] == pytest.approx(counter.get_total_flops() / 2, rel=TOLERANCE)


@pytest.mark.parametrize("name", OTHERS)
def test_a_network_of_its_own_gives_the_counts_of_the_authors_code(name: str) -> None:
    network = described(name)
    for rule, millions in OTHERS[name].items():
        counted = measure(network, (224, 224), rule=CountingRule(rule)).macs / 1e6
        assert counted == pytest.approx(millions, abs=0.08)


def test_contnet_counted_as_its_authors_did_gives_the_published_numbers() -> None:
    published = {"contnet_small": 1.5, "contnet_base": 6.4}
    for name, billions in published.items():
        counted = measure(described(name), (224, 224), rule=CountingRule.conv_linear).macs
        assert round(counted / 1e9, 1) == billions
