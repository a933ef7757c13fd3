"""Naming a network: what a specification builds, and how an impossible one is refused before anything is allocated."""

import pytest
import timm
import torch

from architectures import NetworkSpec, build_network, check_network, list_networks, preprocessing, registered_name


def test_every_listed_network_can_be_built_and_told_to_timm() -> None:
    names = list_networks()
    assert len(names) == len(set(names))
    assert {"unified_dcn_v3_large", "unified_pooling_base", "dwnet_tiny", "contnet_medium", "resnet50"} <= set(names)
    for name in names:
        check_network(NetworkSpec(name, num_classes=10, img_size=(96, 96)))
        assert timm.is_model(name)


def test_names_of_the_published_networks() -> None:
    mixers = ("halo", "pvt", "swin", "convnext", "dcn_v3")
    expected = {f"unified_{mixer}_{scale}" for mixer in mixers for scale in ("nano", "micro", "tiny", "small", "base")}
    assert expected <= set(timm.list_models("unified_*", module="unified"))


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (NetworkSpec(mixer="sra", scale="tiny"), "unified_pvt_tiny"),
        (NetworkSpec(mixer="pooling", scale="base"), "unified_pooling_base"),
        (NetworkSpec(mixer=("halo", "halo", "sra", "sra"), scale="base"), None),
        (NetworkSpec("resnet18"), "resnet18"),
    ],
)
def test_registered_name(spec: NetworkSpec, name: str | None) -> None:
    assert registered_name(spec) == name


def test_specification_and_timm_build_the_same() -> None:
    for spec in (
        NetworkSpec(mixer="sra", scale="micro", num_classes=7, in_chans=1, img_size=(64, 96), drop_path_rate=0.3),
        NetworkSpec("unified_pvt_micro", num_classes=7, in_chans=1, img_size=(64, 96), drop_path_rate=0.3),
    ):
        network = build_network(spec)
        other = timm.create_model(
            "unified_pvt_micro", num_classes=7, in_chans=1, img_size=(64, 96), drop_path_rate=0.3, drop_rate=0.0
        )
        assert str(network) == str(other)
        assert {key: value.shape for key, value in network.state_dict().items()} == {
            key: value.shape for key, value in other.state_dict().items()
        }


def test_timms_own_networks_get_the_image_size_where_they_need_it() -> None:
    with torch.device("meta"):
        network = build_network(NetworkSpec("deit_tiny_patch16_224", num_classes=5, img_size=(96, 96)))
        assert network(torch.empty(1, 3, 96, 96)).shape == (1, 5)
        assert build_network(NetworkSpec("resnet18", num_classes=5, img_size=(96, 96))).num_classes == 5


def test_at_another_resolution() -> None:
    spec = NetworkSpec(mixer="halo", scale="tiny", num_classes=3)
    assert spec.at(96) == NetworkSpec(mixer="halo", scale="tiny", num_classes=3, img_size=(96, 96))


HALO = {"mixer": "halo", "scale": "tiny"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "resnet19"}, r"network: unknown 'resnet19'; choices: unified, .*resnet18"),
        ({"scale": "tiny"}, r"mixer: one name or 4, one a stage, not None; choices: .*halo"),
        ({"mixer": "hallo", "scale": "tiny"}, r"mixer: unknown 'hallo'; choices: .*halo"),
        ({"mixer": ("halo", "halo"), "scale": "tiny"}, r"mixer: one name or 4"),
        ({"mixer": "halo"}, r"scale: unknown None; choices: nano, micro, tiny, small, base"),
        ({"mixer": "halo", "scale": "large"}, r"scale: unknown 'large'; choices: nano, micro, tiny, small, base$"),
        (HALO | {"budget": "flops"}, r"budget: unknown 'flops'; choices: published, params, macs, shape"),
        (HALO | {"mixer_options": {"blocksize": 7}}, r"halo has no option 'blocksize'; choices: block_size"),
        (HALO | {"mixer_options": {"block_size": 0}}, r"block_size=0: must be at least 1"),
        (HALO | {"mixer_options": {"block_size": "7"}}, r"block_size='7'"),
        (HALO | {"mixer_options": {"num_heads": 5}}, r"num_heads=5: must divide dim=96"),
        (HALO | {"mixer_options": {"num_heads": (1, 2)}}, r"num_heads takes one value or 4, one a stage"),
        (HALO | {"options": {"layerscale": 1.0}}, r"options: .*'layerscale'; choices: layer_scale_init, mlp_ratio"),
        (HALO | {"options": {"layer_scale_init": "x"}}, r"options: layer_scale_init='x' .* must be float"),
        (HALO | {"options": {"detection": 1}}, r"options: detection=1 .* must be bool"),
        (HALO | {"options": {"mlp_ratio": 0}}, r"mlp_ratio=0: one positive number"),
        (HALO | {"options": {"num_classes": 5}}, r"options: .*'num_classes'; choices"),
        (HALO | {"drop_path_rate": 1.0}, r"drop_path_rate=1.0: must be at least 0 and less than 1"),
        (HALO | {"num_classes": -1}, r"num_classes=-1: must be at least 0"),
        (HALO | {"in_chans": 0}, r"in_chans=0: must be at least 1"),
        (HALO | {"img_size": (0, 224)}, r"resolution=\(0, 56\)"),
        ({"name": "unified_halo_tiny", "mixer": "sra"}, r"mixer: network unified_halo_tiny does not take it .*'sra'"),
        ({"name": "contnet_tiny", "scale": "tiny"}, r"scale: network contnet_tiny does not take it"),
        ({"name": "contnet_tiny", "options": {"prenorm": True}}, r"'prenorm'; choices: .*pre_norm"),
        ({"name": "dwnet_tiny", "options": {"dim": 64}}, r"network dwnet_tiny has no 'dim'"),
        ({"name": "resnet18", "mixer": "halo"}, r"mixer: network resnet18 does not take it"),
        ({"name": "resnet18", "options": {"stem": 1}}, r"stem: network resnet18 does not take it"),
    ],
    ids=str,
)
def test_impossible_networks_are_refused_by_key(spec: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_network(NetworkSpec(**spec))


@pytest.mark.parametrize(
    ("name", "crop_pct", "interpolation"),
    [
        ("unified", 0.875, "bicubic"),
        ("dwnet_tiny", 0.875, "bicubic"),
        ("contnet_medium", 0.875, "bilinear"),
        ("conformer_small_patch16", 0.875, "bicubic"),
        ("deit_small_patch16_224", 0.875, "bicubic"),  # timm says 0.9
        ("resnet50", 0.95, "bicubic"),  # of the weights that timm has
    ],
)
def test_preprocessing_is_the_authors(name, crop_pct, interpolation):
    assert preprocessing(name) == (crop_pct, interpolation)


def test_preprocessing_of_an_unknown_network_names_the_choices():
    with pytest.raises(ValueError, match="contnet_medium"):
        preprocessing("contnet_huge")
