"""Every published mixer equals the authors' own module in float64: outputs, and input gradients where they were kept.

Reference outputs were computed by the official code (OpenGVLab/STM-Evaluation, Atten4Vis/DemystifyLocalViT) on weights
and inputs that tests/golden/fill.py rebuilds; each JSON names the module and its state dict.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mixers import build_mixer

from ..golden.fill import input_for, state_dict_for

GOLDEN = Path(__file__).parents[1] / "golden"
DIM, RESOLUTION = 64, (14, 14)

# Reference file, mixer, options, and the authors' name prefixes that ours differ from.
STM = [
    ("halo", "halo", {"num_heads": 2}, {}),
    ("halo_query_free", "halo", {"num_heads": 2, "relative_embedding": "query_free"}, {}),
    ("pvt_sr1", "sra", {"num_heads": 2, "sr_ratio": 1}, {}),
    ("pvt", "sra", {"num_heads": 2, "sr_ratio": 2}, {}),
    ("pvt_sr4", "sra", {"num_heads": 2, "sr_ratio": 4}, {}),
    ("pvt_sr8", "sra", {"num_heads": 2, "sr_ratio": 8}, {}),
    ("swin", "shifted_window", {"num_heads": 2}, {}),
    ("swin_shifted", "shifted_window", {"num_heads": 2, "shift_size": 3}, {}),
    ("convnext", "depthwise_conv", {}, {"dw_input_proj": "input_proj", "dw_out_proj": "output_proj"}),
    ("dcn_v3", "dcnv3", {"groups": 4}, {"dw_conv.0": "dw_conv", "dw_conv.1.norm": "norm"}),
]
DWNET = [
    ("depthwise", "depthwise_conv", {"projection": False}, {"weight": "dwconv.weight", "bias": "dwconv.bias"}),
    ("dynamic", "dynamic_depthwise_conv", {"projection": False}, {}),
    (
        "inhomogeneous",
        "inhomogeneous_dynamic_depthwise_conv",
        {"group_channels": 2, "projection": False},
        {"conv1.0": "conv1", "conv1.1": "bn", "conv2.0": "conv2"},
    ),
]
ENTRIES = [pytest.param("stm", *entry, id=entry[0]) for entry in STM] + [
    pytest.param("dwnet", *entry, id=entry[0]) for entry in DWNET
]


def renamed(key: str, prefixes: dict[str, str]) -> str:
    return next((ours + key[len(theirs) :] for theirs, ours in prefixes.items() if key.startswith(theirs)), key)


@pytest.mark.parametrize(("family", "reference", "name", "options", "prefixes"), ENTRIES)
def test_equals_the_authors_module(
    family: str, reference: str, name: str, options: dict[str, Any], prefixes: dict[str, str]
) -> None:
    manifest = json.loads((GOLDEN / family / f"mixer_{reference}.json").read_text())["manifest"]
    golden = np.load(GOLDEN / family / f"mixer_{reference}.npz")
    mixer = build_mixer(name, DIM, RESOLUTION, **options).double().eval()
    weights = {renamed(key, prefixes): tensor for key, tensor in state_dict_for(manifest).items()}
    own = {key: entry for key, entry in mixer.state_dict().items() if entry.is_floating_point()}
    assert weights.keys() == own.keys()
    # 1x1 convolutions of theirs are linear layers of ours.
    mixer.load_state_dict({key: tensor.reshape(own[key].shape) for key, tensor in weights.items()}, strict=False)

    image = input_for((1, DIM, *RESOLUTION)).requires_grad_()
    output = mixer(image.permute(0, 2, 3, 1))
    wanted = torch.from_numpy(golden["output"])
    if wanted.shape[1] == DIM and wanted.dim() == 4:
        wanted = wanted.permute(0, 2, 3, 1)
    assert_close(output, wanted.reshape(output.shape))
    if "grad_input" in golden:
        (gradient,) = torch.autograd.grad(output.square().sum() / 2, image)
        assert_close(gradient, torch.from_numpy(golden["grad_input"]))


def assert_close(got: torch.Tensor, wanted: torch.Tensor) -> None:
    assert (got - wanted).abs().max() <= 1e-9 * wanted.abs().max()
