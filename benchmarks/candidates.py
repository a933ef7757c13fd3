"""What takes turns in one setting: the baseline, and ours."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import timm
from torch import nn

import architectures  # noqa: F401  (registers the networks with timm)
from analysis.settings import MemoryFormat
from analysis.speed import Candidate, Resolution
from architectures import NetworkSpec, list_networks
from architectures.identity import network_identity
from architectures.registry import NETWORKS
from tasks.from_config.cost import describe

from . import dcnv3
from .baselines import BASELINES
from .entries import OPERATOR, Setting

BASELINE, OURS = "baseline", "ours"
# The authors' data flow is B, C, H, W in memory, too.
LAYOUTS = {BASELINE: MemoryFormat.contiguous, OURS: MemoryFormat.channels_last}


def candidates_of(setting: Setting) -> list[Candidate]:
    """The baseline, always eager, and ours, in every way that the setting asks for."""
    return _operators(setting) if setting.entry == OPERATOR else _networks(setting)


def build(entry: str, which: str) -> nn.Module:
    """The network `entry`, in our form or in the straightforward one."""
    return BASELINES[entry]() if which == BASELINE else timm.create_model(entry)


def network_config(entry: str, which: str = OURS) -> Mapping[str, Any]:
    """What of a cell's configuration names the network: for ours the same that `run.py` writes."""
    common = {"options": {}, **dict.fromkeys(("mixers", "budget", "dims", "depths"))}
    if which == BASELINE:
        return {"network": common | {"name": entry, "baseline": True}, "mixer": None, "scale": None, "contents": None}
    if entry not in list_networks():
        return {"network": common | {"name": entry}, "mixer": None, "scale": None}
    row = NETWORKS[entry].row if entry in NETWORKS else {}
    spec = NetworkSpec("unified", **row) if {"mixer", "scale"} <= row.keys() else NetworkSpec(entry)
    return {
        "network": common | {"name": spec.name},
        "mixer": {"name": spec.mixer} if spec.mixer else None,
        "scale": spec.scale,
        "contents": {"networks": [network_identity(spec).digest]},
    }


def _networks(setting: Setting) -> list[Candidate]:
    cost = describe(NetworkSpec(setting.entry)).macs

    def candidate(which: str, compiled: tuple[bool, ...]) -> Candidate:
        return Candidate(
            which,
            lambda resolution: build(setting.entry, which),
            macs=lambda resolution: cost,
            compiled=compiled,
            config=network_config(setting.entry, which),
            memory_format=LAYOUTS[which],
        )

    return [candidate(BASELINE, (False,)), candidate(OURS, setting.compiled)]


def _operators(setting: Setting) -> list[Candidate]:
    def candidate(which: str, operator: dcnv3.Operator) -> Candidate:
        def build_sampling(resolution: Resolution) -> nn.Module:
            return dcnv3.Sampling(operator, setting.batch_size, resolution, setting.channels)

        return Candidate(
            which,
            build_sampling,
            dim=setting.channels,
            macs=partial(dcnv3.macs, channels=setting.channels),
            compiled=setting.compiled,
            pure=True,
            config=network_config(OPERATOR, which),
        )

    fused = partial(dcnv3.fused, implementation=setting.implementation)
    return [candidate(BASELINE, dcnv3.by_grid_sample), candidate(OURS, fused)]
