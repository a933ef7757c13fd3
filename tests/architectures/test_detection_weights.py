"""Detection forms start from classification weights, as the authors begin, or from the backbones of their detectors."""

import logging
from collections import Counter
from functools import cache

import pytest
import timm
import torch

from architectures import NetworkSpec, build_network
from architectures.checkpoints import (
    DETECTORS,
    RELEASES,
    CheckpointError,
    convert,
    into_detection_form,
    official_weights,
)

from ..golden.fill import state_dict_for
from .goldens import DETECTION, description

# Network, its classification weights and its detection weights; what is new in detection, and what is left out.
UNIFIED = ("unified_swin_micro", "stm/unified_swin_micro", "stm/det_unified_swin_micro")
DWNET = ("dwnet_tiny", "dwnet/dwnet_tiny", "dwnet/det_dwnet_tiny")
CONFORMER = ("conformer_tiny_patch16", "conformer/Conformer_tiny_patch16", "conformer/Conformer_tiny_patch16")
OUTPUT_NORMS = {f"output_norms.{stage}" for stage in range(4)}
STAGE_NORMS = {f"stages.{stage}.norm" for stage in range(4)}
CASES = [
    pytest.param(UNIFIED, OUTPUT_NORMS, STAGE_NORMS | {"conv_head.conv", "conv_head.norm", "head"}, id="unified"),
    pytest.param(DWNET, OUTPUT_NORMS, {"norm", "head"}, id="dwnet"),
    pytest.param(CONFORMER, set(), {"token_norm", "token_classifier", "map_classifier"}, id="conformer"),
]


@cache
def theirs(place):
    family, name = place.split("/")
    return {key: value.float() for key, value in state_dict_for(description(family, name)["manifest"]).items()}


def detectors_backbone(place):
    """Conformer's is the classification network without what classifies, and has no reference of this size."""
    return {
        key: value
        for key, value in theirs(place).items()
        if not key.startswith(("trans_norm", "trans_cls", "conv_cls"))
    }


def backbone(name):
    with torch.device("meta"):
        return build_network(NetworkSpec(name, num_classes=0, options=DETECTION))


def modules(keys):
    return {key.rpartition(".")[0] for key in keys}


def detector(place):
    """As mmdetection stores one."""
    weights = {f"backbone.{key}": value for key, value in detectors_backbone(place).items()}
    around = {"neck.fpn_convs.0.conv.weight": torch.ones(1), "roi_head.bbox_head.fc_cls.bias": torch.ones(81)}
    return {"meta": {"epoch": 12, "CLASSES": ("person",)}, "state_dict": weights | around, "optimizer": {"state": {}}}


@pytest.mark.parametrize(("case", "new", "left_out"), CASES)
def test_the_authors_classification_weights(case, new, left_out, caplog):
    name, classification, _ = case
    official = theirs(classification)
    plain = convert(name, official)
    with caplog.at_level(logging.INFO):
        ours = convert(name, {"model": official}, options=DETECTION)
    backbone(name).load_state_dict(ours, strict=True, assign=True)
    assert modules(ours.keys() - plain.keys()) == new
    assert modules(plain.keys() - ours.keys()) == left_out
    assert all(torch.equal(ours[key], plain[key]) for key in ours.keys() & plain.keys())
    # As norms begin.
    for key in ours.keys() - plain.keys():
        assert (ours[key] == (1 if key.endswith(("weight", "running_var")) else 0)).all(), key
    assert f"new are {', '.join(sorted(new)) or 'nothing'}; left out: {', '.join(sorted(left_out))}" in caplog.text


@pytest.mark.parametrize(("case", "new", "left_out"), CASES)
def test_our_classification_weights_whatever_their_classes(case, new, left_out):
    spec = NetworkSpec(case[0], options=DETECTION, num_classes=0)
    with torch.device("meta"):
        wanted = build_network(NetworkSpec(case[0], num_classes=7)).state_dict()
    trained = {key: torch.ones(like.shape, dtype=like.dtype) for key, like in wanted.items()}
    ours = into_detection_form(spec, trained, "mine.safetensors")
    backbone(case[0]).load_state_dict(ours, strict=True, assign=True)
    assert modules(trained.keys() - ours.keys()) == left_out
    assert all(torch.equal(ours[key], trained[key]) for key in ours.keys() & trained.keys())
    assert into_detection_form(spec, ours, "mine.safetensors") == ours


@pytest.mark.parametrize("case", [UNIFIED, DWNET, CONFORMER], ids=lambda case: case[0])
def test_detectors_give_their_backbones(case, caplog):
    name, _, place = case
    alone = convert(name, detectors_backbone(place), options=DETECTION)
    with caplog.at_level(logging.INFO):
        ours = convert(name, detector(place), options=DETECTION)
    backbone(name).load_state_dict(ours, strict=True, assign=True)
    assert all(torch.equal(ours[key], alone[key]) for key in alone)
    assert "of a detector only the backbone is taken; left out: neck, roi_head" in caplog.text


def test_nothing_else_may_differ():
    name, classification, place = DWNET
    official = theirs(classification)
    spec = NetworkSpec(name, options=DETECTION)
    ours = convert(name, official)
    for lost in ("norm.weight", "layers.0.blocks.0.bn.weight"):
        with pytest.raises(CheckpointError, match=f"dwnet_tiny: {lost} is missing"):
            convert(name, {key: value for key, value in official.items() if key != lost}, options=DETECTION)
    with pytest.raises(CheckpointError, match="dwnet_tiny: extra is unknown"):
        convert(name, official | {"extra": torch.ones(1)}, options=DETECTION)
    with pytest.raises(CheckpointError, match=r"mine\.pth: extra is unknown"):
        into_detection_form(spec, ours | {"extra": torch.ones(1)}, "mine.pth")
    with pytest.raises(CheckpointError, match=r"mine\.pth: stem\.proj\.bias is missing"):
        into_detection_form(spec, {key: ours[key] for key in ours if key != "stem.proj.bias"}, "mine.pth")
    # A classification network takes no detector's weights.
    with pytest.raises(CheckpointError, match="is missing"):
        convert(name, detector(place))


def test_released_detectors_are_those_of_the_authors_tables():
    for name, release in DETECTORS.items():
        assert name == f"{release.detector}-{release.network}"
        assert release.address.startswith("https://")
        assert release.network in RELEASES
    assert len({release.address for release in DETECTORS.values()}) == len(DETECTORS)
    assert Counter((release.network.split("_")[0], release.detector) for release in DETECTORS.values()) == {
        ("unified", "mask_rcnn_1x"): 20,
        ("dwnet", "cascade_mask_rcnn_3x"): 2,
        ("dynamic", "cascade_mask_rcnn_3x"): 2,
        ("dwnet", "upernet_160k"): 2,
        ("dynamic", "upernet_160k"): 2,
        ("conformer", "faster_rcnn_1x"): 1,
        ("conformer", "mask_rcnn_1x"): 1,
    }


def test_a_released_detector_is_kept_and_its_backbone_loads(tmp_path, monkeypatch):
    """The file lies where a person would put it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    name = "cascade_mask_rcnn_3x-dwnet_tiny"
    folder = tmp_path / "stmbench" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(detector(DWNET[2]), folder / f"{name}.pth")
    kept = official_weights(name, show_progress=False)
    assert kept == folder / f"{name}.safetensors"
    # Through timm, as a pyramid for any detector.
    overlay = {"pretrained_cfg_overlay": {"file": str(kept)}}
    pyramid = timm.create_model("dwnet_tiny", pretrained=True, features_only=True, **DETECTION, **overlay)
    wanted = convert("dwnet_tiny", theirs(DWNET[2]), options=DETECTION)
    assert all(torch.equal(value, wanted[key]) for key, value in pyramid.model.state_dict().items())


def test_a_pyramid_starts_from_the_released_classification_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "stmbench" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save({"model": theirs(UNIFIED[1])}, folder / "unified_swin_micro.pth")
    pyramid = timm.create_model("unified_swin_micro", pretrained=True, features_only=True, **DETECTION)
    wanted = convert("unified_swin_micro", theirs(UNIFIED[1]), options=DETECTION)
    assert all(torch.equal(value, wanted[key]) for key, value in pyramid.model.state_dict().items())
