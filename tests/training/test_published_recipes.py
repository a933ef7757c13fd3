"""Each recipe's numbers are those of its source: settings, learning rates at key epochs, sizes of parameter groups."""

import json
import math

import pytest
import torch

from architectures import NetworkSpec, build_network
from tests.training.examples import CONF, recipe_settings
from training.optimizer import parameter_groups
from training.schedule import SCHEDULES

GOLDEN = CONF.parent / "tests" / "golden"
IMAGENET = 1_281_167
STRONG = {
    "optimizer": "adamw",
    "optimizer_options": {"betas": [0.9, 0.999], "eps": 1e-8},
    "accumulation": 1,
    "layer_decay": None,
    "random_crop_scale": [0.08, 1.0],
    "random_crop_ratio": [0.75, 4 / 3],
    "random_augment": "rand-m9-mstd0.5-inc1",
    "color_jitter": 0.4,
    "mixup": 0.8,
    "cutmix": 1.0,
    "mix_probability": 1.0,
    "cutmix_share": 0.5,
    "label_smoothing": 0.1,
}
SWIN_LIKE = STRONG | {"epochs": 300, "warmup_epochs": 20, "weight_decay": 0.05, "clip_gradient_norm": 5.0}
SWIN_LIKE |= {"random_erasing": 0.25, "augmentation_repeats": 1, "drop_path_rate": None}
UNIFIED = SWIN_LIKE | {"schedule": "cosine_after_warmup", "ema_decay": 0.9999, "sync_batch_norm": True}
DEIT = STRONG | {"epochs": 300, "warmup_epochs": 5, "weight_decay": 0.05, "clip_gradient_norm": None}
DEIT |= {"random_erasing": 0.25, "augmentation_repeats": 3, "drop_path_rate": 0.1, "schedule": "cosine_by_epoch"}
DEIT |= {"ema_decay": 0.99996, "sync_batch_norm": False}
DEIT |= {"batch_size": 1024, "learning_rate": 1e-3, "warmup_learning_rate": 1e-6, "final_learning_rate": 1e-5}
CONTNET = STRONG | {"epochs": 200, "warmup_epochs": 10, "weight_decay": 0.5, "clip_gradient_norm": None}
CONTNET |= {"random_erasing": 0.0, "augmentation_repeats": 1, "ema_decay": None, "sync_batch_norm": False}
CONTNET |= {"schedule": "cosine_from_start", "batch_size": 512, "learning_rate": 5e-4, "drop_path_rate": None}
CONTNET |= {"warmup_learning_rate": 0.0, "final_learning_rate": 0.0}
PUBLISHED = {
    "unified_attention": UNIFIED
    | {"batch_size": 1024, "learning_rate": 1e-3, "warmup_learning_rate": 1e-6, "final_learning_rate": 1e-5},
    "unified_conv": UNIFIED
    | {"batch_size": 4096, "learning_rate": 4e-3, "warmup_learning_rate": 0.0, "final_learning_rate": 1e-6},
    # 5e-4, 5e-7 and 5e-6 for 512 images, scaled to 1024.
    "dwnet": SWIN_LIKE
    | {"schedule": "cosine_from_start", "ema_decay": None, "sync_batch_norm": False, "batch_size": 1024}
    | {"learning_rate": 1e-3, "warmup_learning_rate": 1e-6, "final_learning_rate": 1e-5},
    "contnet_strong": CONTNET,
    "contnet_plain": CONTNET
    | {"random_augment": None, "color_jitter": 0.0}
    | dict.fromkeys(("mixup", "cutmix", "mix_probability", "cutmix_share"), 0.0),
    "conformer": DEIT,
    "deit": DEIT,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings(name):
    recipe = vars(recipe_settings(name))
    patterns = {"name", "decay", "no_decay"}  # by their effect, below
    assert {key: value for key, value in recipe.items() if key not in patterns} == PUBLISHED[name]


def cosine(peak, floor, share):
    return floor + (peak - floor) * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize(
    ("name", "epoch", "rate"),
    [
        ("unified_attention", 0, 1e-6),
        ("unified_attention", 20, 1e-3),
        ("unified_attention", 160, (1e-3 + 1e-5) / 2),  # half way between 20 and 300
        ("unified_attention", 300, 1e-5),
        ("unified_conv", 0, 0.0),
        ("unified_conv", 20, 4e-3),
        ("unified_conv", 90, cosine(4e-3, 1e-6, 70 / 280)),
        ("dwnet", 0, 1e-6),
        ("dwnet", 10, (1e-3 + 1e-6) / 2),
        ("dwnet", 20, cosine(1e-3, 1e-5, 20 / 300)),  # the cosine has been running since step 0
        ("dwnet", 150, (1e-3 + 1e-5) / 2),
        ("contnet_strong", 0, 0.0),
        ("contnet_strong", 5, 2.5e-4),
        ("contnet_strong", 100, 2.5e-4),
        ("contnet_strong", 200, 0.0),
        ("contnet_plain", 100, 2.5e-4),
        ("conformer", 0, 1e-6),
        ("conformer", 1, 1e-6),  # set after the epoch before, from that epoch's number
        ("conformer", 2, 1e-6 + (1e-3 - 1e-6) / 5),
        ("conformer", 151, (1e-3 + 1e-5) / 2),
        ("deit", 6, cosine(1e-3, 1e-5, 5 / 300)),
    ],
)
def test_learning_rates_at_key_epochs(name, epoch, rate):
    recipe = recipe_settings(name)
    steps = IMAGENET // recipe.batch_size
    assert steps == {1024: 1251, 4096: 312, 512: 2502}[recipe.batch_size]
    step = min(epoch * steps, recipe.epochs * steps - 1)
    assert SCHEDULES[recipe.schedule](step, recipe, steps) == pytest.approx(rate, rel=1e-6, abs=1e-9)


def authors_group_sizes(golden, exempt="relative_position_bias_table"):
    """Parameters with and without weight decay, by the rule of all four sources on their own names and shapes.

    No decay: one dimension, names ending in `.bias`, STM-Evaluation's bias tables. Also: layer scales that decay there.
    """
    sizes = {True: 0, False: 0}
    scales = 0
    for name, shape in json.loads((GOLDEN / f"{golden}.json").read_text())["manifest"].items():
        if any(word in name for word in ("running_", "num_batches_tracked", "_index")):
            continue
        decays = len(shape) > 1 and not name.endswith(".bias") and exempt not in name
        sizes[decays] += math.prod(shape)
        scales += math.prod(shape) if decays and ("gamma" in name or "layer_scale" in name) else 0
    return sizes[True], sizes[False], scales


@pytest.mark.parametrize(
    ("recipe", "golden", "network"),
    [
        ("unified_attention", "stm/unified_halo_tiny", NetworkSpec(mixer="halo", scale="tiny")),
        ("unified_attention", "stm/unified_swin_tiny", NetworkSpec(mixer="shifted_window", scale="tiny")),
        ("unified_attention", "stm/unified_pvt_tiny", NetworkSpec(mixer="sra", scale="tiny")),
        ("unified_conv", "stm/unified_convnext_tiny", NetworkSpec(mixer="depthwise_conv", scale="tiny")),
        ("unified_conv", "stm/unified_dcn_v3_tiny", NetworkSpec(mixer="dcnv3", scale="tiny")),
        ("dwnet", "dwnet/dwnet_tiny", NetworkSpec("dwnet_tiny")),
        ("dwnet", "dwnet/i_dynamic_dwnet_tiny", NetworkSpec("i_dynamic_dwnet_tiny")),
        ("contnet_strong", "contnet/ConT-M", NetworkSpec("contnet_medium")),
        ("contnet_plain", "contnet/ConT-S_alt", NetworkSpec("contnet_small")),
        ("conformer", "conformer/Conformer_small_patch16", NetworkSpec("conformer_small_patch16")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_sizes_of_parameter_groups(recipe, golden, network):
    if golden.endswith("_alt"):
        network = NetworkSpec(network.name, options={"relative_position_bias": True})
    with_decay, without, scales = authors_group_sizes(
        golden, "relative_position_bias_table" if "stm" in golden else "-"
    )
    settings = recipe_settings(recipe)
    with torch.device("meta"):
        groups = parameter_groups(build_network(network), settings)
        exact = recipe_settings(recipe, decay=[*settings.decay, "*layer_scale*"] if scales else settings.decay)
        exact_groups = parameter_groups(build_network(network), exact)
    assert sizes_of(exact_groups) == {settings.weight_decay: with_decay, 0.0: without}
    assert sizes_of(groups) == {settings.weight_decay: with_decay - scales, 0.0: without + scales}


def sizes_of(groups):
    return {group["weight_decay"]: sum(parameter.numel() for parameter in group["params"]) for group in groups}
