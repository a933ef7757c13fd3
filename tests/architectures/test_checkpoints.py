"""Official checkpoints: what is accepted, what is refused and how the refusal reads, and the resizing of tables."""

import argparse
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from architectures import NetworkSpec, build_network
from architectures.checkpoints import CheckpointError, convert, load_official

from ..golden.fill import state_dict_for

GOLDEN = Path(__file__).parents[1] / "golden" / "stm"


def official(network: str) -> dict[str, Tensor]:
    return state_dict_for(json.loads((GOLDEN / f"{network}.json").read_text())["manifest"])


@pytest.fixture(scope="module")
def halo() -> dict[str, Tensor]:
    return official("unified_halo_micro")


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


class TestAccepted:
    def test_containers_and_prefixes(self, halo: dict[str, Tensor]) -> None:
        plain = convert("unified_halo_micro", halo)
        wrapped = {f"module.{key}": value for key, value in halo.items()}
        assert_same(convert("unified_halo_micro", {"model": halo, "epoch": 299}), plain)
        assert_same(convert("unified_halo_micro", {"model_ema": wrapped}), plain)
        assert_same(convert("unified_halo_micro", {"model": wrapped, "model_ema": "not this one"}), plain)

    def test_result_loads_strictly_and_counts_batches_from_0_where_that_is_missing(
        self, halo: dict[str, Tensor]
    ) -> None:
        network = build_network(NetworkSpec("unified_halo_micro"))
        network.load_state_dict(convert("unified_halo_micro", halo), strict=True)
        assert network.conv_head.norm.num_batches_tracked == 0
        counted = halo | {"conv_head.1.num_batches_tracked": torch.tensor(7)}
        assert convert("unified_halo_micro", counted)["conv_head.norm.num_batches_tracked"] == 7

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_files(self, halo: dict[str, Tensor], tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"weights{suffix}"
        if suffix == ".pth":
            torch.save({"model": halo, "args": argparse.Namespace(lr=1e-3), "epoch": 3}, path)
        else:
            save_file(halo, path)
        assert_same(load_official(path, "unified_halo_micro"), convert("unified_halo_micro", halo))


class TestRefused:
    def test_missing_entry(self, halo: dict[str, Tensor]) -> None:
        less = {key: value for key, value in halo.items() if key != "stages.1.0.attn.q.weight"}
        with pytest.raises(CheckpointError, match=r"unified_halo_micro: stages\.1\.0\.attn\.q\.weight is missing"):
            convert("unified_halo_micro", less)

    def test_unknown_entry(self, halo: dict[str, Tensor]) -> None:
        with pytest.raises(CheckpointError, match=r"unified_halo_micro: stages\.9\.gamma_1 is unknown"):
            convert("unified_halo_micro", halo | {"stages.9.gamma_1": torch.ones(1)})

    def test_misspelt_entry_is_named_with_the_one_that_it_should_be(self, halo: dict[str, Tensor]) -> None:
        misspelt = {key.replace("stages.3.1.norm2.weight", "stages.3.1.norm.weight"): halo[key] for key in halo}
        with pytest.raises(
            CheckpointError, match=r"norm2\.weight is missing \(stages\.3\.1\.norm\.weight is unknown\)"
        ):
            convert("unified_halo_micro", misspelt)

    @pytest.mark.parametrize(
        ("key", "shape"),
        [
            ("stages.0.0.gamma_1", (32,)),
            ("stages.0.0.attn.kv.weight", (64, 32)),
            ("stages.0.0.attn.pos_embed.height_rel", (25, 16)),
            ("head.weight", (10, 384)),
        ],
    )
    def test_misshapen_entry(self, halo: dict[str, Tensor], key: str, shape: tuple[int, ...]) -> None:
        with pytest.raises(CheckpointError, match=rf"unified_halo_micro: {key} has shape .*needs"):
            convert("unified_halo_micro", halo | {key: torch.ones(shape)})

    def test_another_network(self, halo: dict[str, Tensor]) -> None:
        with pytest.raises(
            CheckpointError, match=r"unified_halo_tiny: downsample_layers\.0\.stem\.0\.weight has shape"
        ):
            convert("unified_halo_tiny", halo)
        with pytest.raises(CheckpointError, match=r"unified_swin_micro: .* is missing"):
            convert("unified_swin_micro", halo)

    def test_half_of_the_entries(self, halo: dict[str, Tensor]) -> None:
        half = dict(list(halo.items())[: len(halo) // 2])
        with pytest.raises(CheckpointError, match=r"unified_halo_micro: .* is missing"):
            convert("unified_halo_micro", half)
        with pytest.raises(CheckpointError, match="no weights"):
            convert("unified_halo_micro", {"model": {}})

    def test_something_that_is_not_a_tensor(self, halo: dict[str, Tensor]) -> None:
        with pytest.raises(CheckpointError, match=r"head\.bias is a list"):
            convert("unified_halo_micro", halo | {"head.bias": [0.0]})

    def test_a_network_without_official_weights(self, halo: dict[str, Tensor]) -> None:
        with pytest.raises(ValueError, match="unified_pooling_micro has no official weights"):
            convert("unified_pooling_micro", halo)

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_truncated_file(self, halo: dict[str, Tensor], tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"weights{suffix}"
        torch.save(halo, path) if suffix == ".pth" else save_file(halo, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(CheckpointError, match=rf"{path} is damaged or not a checkpoint"):
            load_official(path, "unified_halo_micro")

    @pytest.mark.parametrize("contents", [b"", b"<html>404</html>", b"\x80\x02."])
    def test_files_that_are_no_checkpoints(self, tmp_path: Path, contents: bytes) -> None:
        path = tmp_path / "weights.pth"
        path.write_bytes(contents)
        with pytest.raises(CheckpointError, match=str(path)):
            load_official(path, "unified_halo_micro")

    def test_file_with_a_wrong_entry_is_named(self, halo: dict[str, Tensor], tmp_path: Path) -> None:
        path = tmp_path / "weights.pth"
        torch.save({"model": halo | {"surplus": torch.ones(1)}}, path)
        with pytest.raises(CheckpointError, match=rf"{path}: .*unified_halo_micro: surplus is unknown"):
            load_official(path, "unified_halo_micro")

    def test_absent_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="nowhere"):
            load_official(tmp_path / "nowhere.pth", "unified_halo_micro")

    def test_objects_are_never_unpickled(self, tmp_path: Path) -> None:
        path, witness = tmp_path / "weights.pth", tmp_path / "witness"
        torch.save({"model": Malicious(witness)}, path)
        with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
            load_official(path, "unified_halo_micro")
        assert not witness.exists()


class Malicious:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple:
        return Path.touch, (self.witness,)


class TestResizing:
    """Expected values by the authors' formulas, written out here once more for one block each."""

    def test_position_embeddings_bilinear_with_aligned_corners(self) -> None:
        weights = official("unified_pvt_micro")
        converted = convert("unified_pvt_micro", weights, img_size=(192, 256))
        expected = F.interpolate(weights["stages.1.0.pos_embed"], (24, 32), mode="bilinear", align_corners=True)
        assert torch.equal(converted["stages.1.blocks.0.position.weight"], expected[0].permute(1, 2, 0))

    def test_relative_position_tables_bicubic_from_their_square(self) -> None:
        weights = official("unified_swin_micro")
        key = "stages.3.0.attn.relative_position_bias_table"
        # At 160 pixels the last stage is 5 x 5, which makes the window 5 and the table 9 x 9.
        converted = convert("unified_swin_micro", weights, img_size=160)
        square = weights[key].permute(1, 0).view(1, 8, 13, 13)
        expected = F.interpolate(square, (9, 9), mode="bicubic", align_corners=False).view(8, 81).permute(1, 0)
        ours = converted["stages.3.blocks.0.mixer.relative_position_bias_table"]
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)
        unresized = converted["stages.0.blocks.0.mixer.relative_position_bias_table"]
        assert torch.equal(unresized, weights["stages.0.0.attn.relative_position_bias_table"])

    def test_tables_of_a_window_that_was_asked_for(self, halo: dict[str, Tensor]) -> None:
        """The authors' loader at another window; everything else, and tables of the same size, stay as they are."""
        weights, key = official("unified_swin_micro"), "attn.relative_position_bias_table"
        converted = convert("unified_swin_micro", weights, mixer_options={"window_size": (14, 7, 14, 7)})
        build_network(NetworkSpec("unified_swin_micro", mixer_options={"window_size": (14, 7, 14, 7)})).load_state_dict(
            converted, strict=True
        )
        square = weights[f"stages.0.1.{key}"].permute(1, 0).view(1, 1, 13, 13)
        expected = F.interpolate(square, (27, 27), mode="bicubic", align_corners=False).view(1, 729).permute(1, 0)
        ours = {
            f"{stage}": converted[f"stages.{stage}.blocks.1.mixer.relative_position_bias_table"] for stage in (0, 1)
        }
        torch.testing.assert_close(ours["0"], expected, rtol=0, atol=0)
        assert torch.equal(ours["1"], weights[f"stages.1.1.{key}"])
        rows = convert("unified_halo_micro", halo, mixer_options={"halo_size": 1})
        assert rows["stages.0.blocks.0.mixer.pos_embed.height_rel"].shape == (17, 32)

    def test_tables_that_no_window_has_are_refused(self) -> None:
        weights = official("unified_swin_micro")
        with pytest.raises(CheckpointError, match=r"bias_table has shape \(169, 1\), the network needs \(169, 2\)"):
            convert("unified_swin_micro", weights, mixer_options={"num_heads": (2, 2, 4, 8)})

    def test_an_option_that_the_authors_do_not_have(self) -> None:
        weights = official("unified_swin_micro")
        with pytest.raises(
            CheckpointError, match=r"unified_swin_micro: .* nothing like stages\.0\.blocks\.0\.position"
        ):
            convert("unified_swin_micro", weights, options={"position_embedding": True})

    def test_query_related_tables_linear_with_aligned_ends(self, halo: dict[str, Tensor]) -> None:
        from mixers.resizing import resized_rows

        table = halo["stages.0.0.attn.pos_embed.height_rel"]
        resized = resized_rows(table, torch.Size([49, 32]))
        assert resized.shape == (49, 32)
        torch.testing.assert_close(resized[::2], table)
        torch.testing.assert_close(resized[1::2], (table[:-1] + table[1:]) / 2)
