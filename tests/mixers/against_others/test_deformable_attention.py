"""deformable_attention against outputs of the authors' own code, before and after it changed its reference points."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mixers import build_mixer

from ...golden.fill import input_for, state_dict_for
from ..cases import Case, random_map

GOLDEN = Path(__file__).parents[2] / "golden" / "dat"
DIM, RESOLUTION = 16, (10, 10)
OURS = {
    "mixer_2022": {"kernel_size": 7, "offset_range": 2.0},
    "mixer_2023": {"kernel_size": 5, "reference_points": "stretched"},
}
NAMES = {
    "proj_q": "q",
    "proj_out": "proj",
    "conv_offset.0": "offset_conv",
    "conv_offset.1.norm": "offset_norm",
    "conv_offset.3": "offset_proj",
}


def converted(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keys and values are one layer of ours, and 1x1 convolutions linear layers."""
    ours = {"rpe_table": theirs["rpe_table"]}
    for their_name, name in NAMES.items():
        layer = {key: entry for key, entry in theirs.items() if key.rpartition(".")[0] == their_name}
        ours |= {f"{name}.{key.rpartition('.')[2]}": entry for key, entry in layer.items()}
    for kind in ("weight", "bias"):
        ours[f"kv.{kind}"] = torch.cat([theirs[f"proj_k.{kind}"], theirs[f"proj_v.{kind}"]])
    return {key: entry.squeeze((2, 3)) if entry.shape[2:] == (1, 1) else entry for key, entry in ours.items()}


@pytest.mark.parametrize("reference", OURS)
def test_equals_the_authors_module(reference: str) -> None:
    manifest = json.loads((GOLDEN / f"{reference}.json").read_text())["manifest"]
    golden = {key: torch.from_numpy(entry) for key, entry in np.load(GOLDEN / f"{reference}.npz").items()}
    options: dict[str, Any] = {"num_heads": 4, "groups": 2, "stride": 2, "table_size": 10, **OURS[reference]}
    mixer = build_mixer("deformable_attention", DIM, RESOLUTION, **options).double()
    mixer.load_state_dict(converted(state_dict_for(manifest)))
    image = input_for((1, DIM, *RESOLUTION)).requires_grad_()
    output = mixer(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    (gradient,) = torch.autograd.grad(output.square().sum() / 2, image)
    for got, wanted in ((output, golden["output"]), (gradient, golden["grad_input"])):
        assert (got - wanted).abs().max() <= 1e-12 * wanted.abs().max()


@pytest.mark.parametrize("resolution", [(1, 1), (1, 9), (8, 13)])
def test_points_that_stay_see_the_map_resized(resolution: tuple[int, int]) -> None:
    """Without moves and bias, all that is left is attention to the map at its reference points."""
    options = {"num_heads": 2, "groups": 1, "stride": 1, "kernel_size": 3, "table_size": 4}
    mixer = Case(options, mixer="deformable_attention").build()
    for parameter in (mixer.offset_proj.weight, mixer.rpe_table):
        torch.nn.init.zeros_(parameter)
    x = random_map(*resolution)
    # The centres of as many cells as there are pixels, on a map that ends in the middle of its outermost pixels.
    rows, columns = ((torch.arange(size, dtype=x.dtype) + 0.5) / size * (size - 1) for size in resolution)
    seen = interpolated_along(interpolated_along(x, 1, rows), 2, columns).flatten(1, 2)
    keys, values = mixer.kv(seen).unflatten(-1, (2, 2, -1)).permute(2, 0, 3, 1, 4)
    queries = mixer.q(x).flatten(1, 2).unflatten(-1, (2, -1)).transpose(1, 2)
    attended = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(mixer(x), mixer.proj(attended), rtol=1e-12, atol=1e-12)


def interpolated_along(x: Tensor, dim: int, places: Tensor) -> Tensor:
    low = places.floor().long()
    high = (low + 1).clamp(max=x.shape[dim] - 1)
    share = (places - low).reshape([-1 if axis == dim else 1 for axis in range(4)])
    return x.index_select(dim, low) * (1 - share) + x.index_select(dim, high) * share


def test_tables_are_resized_for_another_size() -> None:
    options = {"num_heads": 2, "groups": 1, "stride": 1, "kernel_size": 3}
    mixer = Case(options | {"table_size": 4}, mixer="deformable_attention").build()
    table = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    resized = mixer.resize("rpe_table", table, mixer.rpe_table.shape)
    assert resized.shape == (2, 7, 7)
    assert torch.equal(mixer.resize("rpe_table", table, table.shape), table)
    for key, shape in (("rpe_table", (3, 7, 7)), ("q.weight", (4, 4))):
        with pytest.raises(ValueError, match=f"{key} has shape"):
            mixer.resize(key, table, torch.Size(shape))
