"""Reference outputs of the authors' code for networks with designs of their own, and how ours are held against them.

References were computed in float64 on weights and images that tests/golden/fill.py rebuilds. A JSON holds the number of
parameters and the shapes of the authors' state dict; an NPZ the outputs, and summaries of maps and tokens on the way:
shape, mean, standard deviation, first values.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn

from architectures import NetworkSpec, build_network
from architectures.checkpoints import convert

from ..golden.fill import input_for, state_dict_for

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = 1e-9
DETECTION = {"detection": True}

Reference = np.lib.npyio.NpzFile


def reference(family: str, name: str) -> Reference:
    return np.load(GOLDEN / family / f"{name}.npz")


def description(family: str, name: str) -> dict[str, Any]:
    """Parameters and shapes of the authors' network, of which a `_damped` reference has only other weights."""
    return json.loads((GOLDEN / family / f"{name.removesuffix('_damped')}.json").read_text())


def official_state_dict(family: str, name: str) -> dict[str, Tensor]:
    """The authors' whole state dict, counters and index tables included; `_damped` ones have weak residual branches."""
    shapes = description(family, name)
    official = state_dict_for(shapes["manifest"])
    if name.endswith("_damped"):
        for key in official:
            if key.endswith(("attn2conv.bn2.weight", "mlp.fc2.weight")):
                official[key] *= 0.1
    return official | {key: torch.zeros(shape, dtype=torch.int64) for key, shape in shapes["int_shapes"].items()}


def network_of(family: str, name: str, network: str, **options: Any) -> nn.Module:
    """Our `network` in float64 with the reference's weights."""
    with torch.device("meta"):
        built = build_network(NetworkSpec(network, options=options))
    built.load_state_dict(convert(network, official_state_dict(family, name), options=options), assign=True)
    return built.double().eval()


def detection_maps(family: str, name: str, network: str) -> list[Tensor]:
    """The pyramid of our detection backbone with the reference's weights."""
    pyramid = timm.create_model(network, features_only=True, **DETECTION).double().eval()
    official = official_state_dict(family, name)
    pyramid.model.load_state_dict(convert(network, official, num_classes=0, options=DETECTION))
    image = (256, 320) if family == "conformer" else (228, 202)
    with torch.inference_mode():
        return pyramid(input_for((1, 3, *image)))


def recording(modules: Mapping[str, nn.Module], outputs: dict[str, Any]) -> AbstractContextManager[object]:
    """While open, what each module returns is kept in `outputs` under its name."""
    stack = ExitStack()
    for name, module in modules.items():
        handle = module.register_forward_hook(lambda _, __, output, name=name: outputs.update({name: output}))
        stack.callback(handle.remove)
    return stack


def relative_error(ours: Tensor, wanted: np.ndarray) -> float:
    return float((ours.detach() - torch.from_numpy(wanted)).abs().max() / np.abs(wanted).max())


def assert_summary(golden: Reference, name: str, ours: Tensor) -> None:
    """Shape, mean, deviation, first values (and last ones where they were kept) of a tensor in the authors' layout."""
    assert tuple(ours.shape) == tuple(golden[f"{name}_shape"]), name
    values = ours.contiguous().flatten()
    found = {"head": values[: len(golden[f"{name}_head"])], "mean": values.mean(), "std": values.std()}
    if f"{name}_tail" in golden:
        found["tail"] = values[-len(golden[f"{name}_tail"]) :]
    errors = {what: (value - torch.as_tensor(golden[f"{name}_{what}"])).abs().max() for what, value in found.items()}
    allowed = TOLERANCE * float(golden[f"{name}_std"])
    wrong = {what: float(error) for what, error in errors.items() if not error <= allowed}
    assert not wrong, f"{name} differs: {wrong}"


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
