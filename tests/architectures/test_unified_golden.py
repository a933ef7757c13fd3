"""The unified networks equal the authors' code in float64, on converted weights: stage by stage, then the logits.

References were computed by the official code (OpenGVLab/STM-Evaluation) on weights and inputs that tests/golden/fill.py
rebuilds. `*_rebuilt` were built for another image size, their tables resized by the authors' loader; `det_*` come from
the authors' detection backbones. For dcn_v3 the references `f64ref_*` have exact reference points; the plain ones
contain the authors' rounding of these points to float32.
"""

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor

from architectures import NetworkSpec, build_network
from architectures.checkpoints import convert

from ..golden.fill import input_for, state_dict_for

GOLDEN = Path(__file__).parents[1] / "golden" / "stm"
EXACT, ROUNDED = 1e-9, 1e-6

# File name: what was built, of which network, at which size if not 224 x 224.
NAME = re.compile(
    r"(?P<detection>det_)?(?P<network>unified_\w+?)(_(?P<rows>\d+)x(?P<columns>\d+))?(?P<rebuilt>_rebuilt)?"
)
NAMES = sorted(path.stem for path in GOLDEN.glob("*unified_*.npz"))
CLASSIFICATION = [
    pytest.param(name, marks=pytest.mark.slow if "_base" in name else ())
    for name in NAMES
    if not name.startswith("det_")
]
DETECTION = [name for name in NAMES if name.startswith("det_")]


def resolution(name: str) -> tuple[int, int]:
    parts = NAME.fullmatch(name)
    return (int(parts["rows"]), int(parts["columns"])) if parts["rows"] else (224, 224)


@cache
def described(detection: bool, network: str) -> dict:
    return json.loads((GOLDEN / f"{'det_' if detection else ''}{network}.json").read_text())


def relative_error(ours: Tensor, reference: np.ndarray) -> float:
    return float((ours - torch.from_numpy(reference)).abs().max() / np.abs(reference).max())


def assert_summaries_equal(golden: np.lib.npyio.NpzFile, prefix: str, feature_map: Tensor, tolerance: float) -> None:
    """Shape, mean, deviation, the first values, and the last pixel where it was kept, of a map B, C, H, W."""
    assert tuple(feature_map.shape) == tuple(golden[f"{prefix}_shape"]), prefix
    values = feature_map.contiguous().flatten()
    deviation = float(golden[f"{prefix}_std"])
    errors = {
        "mean": abs(float(values.mean()) - float(golden[f"{prefix}_mean"])) / deviation,
        "deviation": abs(float(values.std(correction=0)) / deviation - 1),
        "first values": relative_error(values[:16], golden[f"{prefix}_head"]),
    }
    if f"{prefix}_tail" in golden:
        errors["last pixel"] = relative_error(feature_map[-1, :, -1, -1], golden[f"{prefix}_tail"])
    wrong = {what: error for what, error in errors.items() if not error <= tolerance}
    assert not wrong, f"{prefix} differs: {wrong}"


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classification_network_equals_the_authors(name: str) -> None:
    parts, size = NAME.fullmatch(name), resolution(name)
    built_for = size if parts["rebuilt"] else (224, 224)
    golden = np.load(GOLDEN / f"{name}.npz")
    official = state_dict_for(described(False, parts["network"])["manifest"])
    with torch.device("meta"):
        network = build_network(NetworkSpec(parts["network"], img_size=built_for)).eval()
    network.load_state_dict(convert(parts["network"], official, img_size=built_for), assign=True)
    exact = "f64ref_" if "f64ref_logits" in golden else ""

    with torch.inference_mode():
        features, maps = network.forward_intermediates(input_for((2, 3, *size)))
        for stage, feature_map in enumerate(maps):
            assert_summaries_equal(golden, f"{exact}stage{stage}", feature_map, EXACT)
        logits = network.forward_head(features)

    assert relative_error(logits, golden[f"{exact}logits"]) <= EXACT
    assert relative_error(logits, golden["logits"]) <= ROUNDED


@pytest.mark.parametrize("name", DETECTION)
def test_detection_pyramid_equals_the_authors(name: str) -> None:
    parts, size = NAME.fullmatch(name), resolution(name)
    golden = np.load(GOLDEN / f"{name}.npz")
    official = state_dict_for(described(True, parts["network"])["manifest"])
    options = {"detection": True}
    pyramid = timm.create_model(parts["network"], features_only=True, **options).double().eval()
    pyramid.model.load_state_dict(convert(parts["network"], official, num_classes=0, options=options))
    exact = "f64ref_" if "f64ref_out0_mean" in golden else ""

    with torch.inference_mode():
        for index, feature_map in enumerate(pyramid(input_for((2, 3, *size)))):
            assert_summaries_equal(golden, f"{exact}out{index}", feature_map, EXACT)


@pytest.mark.parametrize("detection", [False, True])
def test_parameters_are_as_many_as_the_authors(detection: bool) -> None:
    for path in GOLDEN.glob("det_unified_*.json" if detection else "unified_*.json"):
        network = path.stem.removeprefix("det_")
        options = {"num_classes": 0, "options": {"detection": True}} if detection else {}
        with torch.device("meta"):
            built = build_network(NetworkSpec(network, **options))
        assert sum(parameter.numel() for parameter in built.parameters()) == described(detection, network)["params"], (
            network
        )


def test_what_the_authors_recompute_is_left_out() -> None:
    description = described(False, "unified_swin_micro")
    official = state_dict_for(description["manifest"])
    assert description["recomputed"]
    with_recomputed = official | dict.fromkeys(description["recomputed"], torch.full((1,), torch.nan))
    converted, plain = convert("unified_swin_micro", with_recomputed), convert("unified_swin_micro", official)
    assert converted.keys() == plain.keys()
    assert all(torch.equal(converted[key], plain[key]) for key in plain)
