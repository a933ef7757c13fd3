"""What the authors published of the same network, and the difference where the two are of the same kind."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pandas as pd

from ..published import load_published

# The authors' names of the mixers in the unified network; other mixers keep their own.
AUTHORS_NAMES = {"sra": "pvt", "shifted_window": "swin", "depthwise_conv": "convnext", "dcnv3": "dcn_v3"}
# The published numbers are of ImageNet-1k at this size.
DATA = "imagenet"
RESOLUTION = 224
NUM_CLASSES = 1000

PUBLISHED_RULE = (
    "Published numbers are ImageNet-1k at 224×224, as printed by the authors. A difference (measured − published) is "
    "given only for the same kind of number: parameters and MACs at 224×224 with 1000 classes, MACs counted by the "
    "same rule, top-1 on ImageNet-1k. ~ means that the source says about."
)


def timm_name(network: str, mixer: str | None, scale: str | None) -> str:
    """The name under which the network is registered with timm, e.g. `unified_swin_tiny`."""
    if network != "unified":
        return network
    return f"unified_{AUTHORS_NAMES.get(mixer, mixer)}_{scale}"


class PublishedNumbers:
    """The current published numbers of image classification networks."""

    def __init__(self, numbers: pd.DataFrame | None = None) -> None:
        """`numbers` is laid out like `analysis.published.load_published()`, which is taken when it is None."""
        numbers = load_published() if numbers is None else numbers
        self.numbers = numbers[(numbers["task"] == "classification") & (numbers["standing"] == "current")]

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str], Mapping[str, Any]]:
        # A table may mix training regimes; its ordinary one, which has no name, comes last and so prevails.
        ordered = self.numbers.sort_values("training", ascending=False, kind="stable")
        return {(row["network"], row["quantity"]): row for row in ordered.to_dict("records")}

    def beside(self, row: Mapping[str, Any], macs_by_rule: Mapping[str, int]) -> dict[str, Any]:
        """Columns to put beside a measured `row`: published params, MACs and top-1 as printed, and differences.

        Args:
            row: columns of `Comparison.rows`, as far as they are known.
            macs_by_rule: the measured MACs of this network, by the rule that counted them.
        """
        name = timm_name(row["network"], row["mixer"], row["scale"])
        columns: dict[str, Any] = {}
        params = self._by_name.get((name, "params"))
        macs = self._by_name.get((name, "macs"))
        top1 = self._by_name.get((name, "top1_percent"))
        budget = self._by_name.get((name, "params_budget"))
        at_published_size = row["resolution"] == RESOLUTION and row["num_classes"] == NUM_CLASSES
        if params or budget:
            columns["published_params"] = (params or budget)["published"]
        if params and at_published_size:
            columns["params_difference_percent"] = _percent(row.get("params"), params["value"])
        if macs:
            columns |= {"published_macs": macs["published"], "published_macs_rule": macs["counting_rule"]}
            if at_published_size:
                measured = macs_by_rule.get(macs["counting_rule"])
                columns["macs_difference_percent"] = _percent(measured, macs["value"])
        if top1:
            columns["published_top1_percent"] = top1["value"]
            if row.get("data") == DATA and at_published_size and pd.notna(row["top1_percent"]):
                columns["top1_difference"] = row["top1_percent"] - top1["value"]
        sources = [number["source"] for number in (params, macs, top1, budget) if number]
        columns["published_source"] = "; ".join(dict.fromkeys(sources)) or None
        return columns


def _percent(measured: float | None, published: float) -> float | None:
    return None if measured is None or pd.isna(measured) else 100 * (measured - published) / published
