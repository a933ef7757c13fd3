"""On which device a cell runs."""

from collections.abc import Mapping
from typing import Any

import torch


def device_of(config: Mapping[str, Any]) -> str:
    """`auto` is the first GPU where there is one; a cell whose identity names the kind of device runs on that kind.

    Raises: ValueError where a GPU is asked for that torch does not find.
    """
    device = (config.get("contents") or {}).get("device")
    kind = device["kind"] if device else config["device"]
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device=cuda: torch finds no GPU on this machine; device=auto takes the CPU where there is none"
        )
    if kind != "auto":
        return kind
    return "cuda" if torch.cuda.is_available() else "cpu"
