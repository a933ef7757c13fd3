"""ImageNet's relatives, as tiny trees in the layouts in which they are released."""

import json

import pytest
import torch
from PIL import Image
from timm.data import ImageNetInfo
from torch import nn

from tests.training.examples import data_settings
from training.data import SOURCES, check_data
from training.evaluate import evaluate

OPTIONS = {"precision": "fp32", "device": "cpu", "batch_size": 4, "show_progress": False}
WNIDS = ImageNetInfo("imagenet-1k").label_names()
RELATIVES = ("imagenet_v2", "imagenet_real", "imagenet_sketch", "imagenet_a", "imagenet_r")


def save(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 16), (value, value, value)).save(path)


def settings(name, root, **changes):
    return data_settings(name, root=str(root), **({"resolution": 8, "workers": 0} | changes))


class ByBrightness(nn.Module):
    """Answers with the label that an image's red value gives in `answers`, in this order of preference."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def forward(self, images):
        values = ((images[:, 0].mean((1, 2)) * 0.229 + 0.485) * 255).round().int().tolist()
        logits = torch.zeros(len(images), 1000)
        for row, value in enumerate(values):
            for rank, label in enumerate(self.answers[value]):
                logits[row, label] = 100 - rank
        return logits


def test_labels_are_the_places_of_wordnet_ids():
    assert (WNIDS[0], WNIDS[999], len(WNIDS)) == ("n01440764", "n15075141", 1000)
    assert sorted(WNIDS) == WNIDS


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r", "imagenet_sketch"])
def test_only_classes_that_occur_are_compared(tmp_path, name):
    save(tmp_path / WNIDS[6] / "a.jpg", 10)
    save(tmp_path / WNIDS[6] / "b.jpg", 20)
    save(tmp_path / WNIDS[900] / "c.jpg", 30)
    data = settings(name, tmp_path)
    check_data(data, splits=("validation",))
    # Label 7 would win everywhere, but is no class of this set.
    scores = evaluate(ByBrightness({10: [7, 6, 900], 20: [7, 900, 6], 30: [7, 900]}), data, **OPTIONS)
    assert scores["validation_images"] == 3
    assert scores["top1_percent"] == pytest.approx(200 / 3)
    # Between the two classes alone: ln(1 + e^-1), ln(1 + e), ln(1 + e^-99).
    assert scores["validation_loss"] == pytest.approx((0.313262 + 1.313262 + 0) / 3, abs=1e-4)


def test_imagenet_v2_numbers_its_folders(tmp_path):
    for label, value in ((2, 10), (10, 20), (999, 30)):
        save(tmp_path / str(label) / "x.jpeg", value)
    scores = evaluate(ByBrightness({10: [2], 20: [10], 30: [998]}), settings("imagenet_v2", tmp_path), **OPTIONS)
    assert scores["top1_percent"] == pytest.approx(200 / 3)
    save(tmp_path / "n01440764" / "x.jpeg")
    with pytest.raises(ValueError, match=r"n01440764: .* named by their label"):
        check_data(settings("imagenet_v2", tmp_path), splits=("validation",))


@pytest.mark.parametrize("layout", ["folders", "flat"])
def test_reassessed_labels_follow_the_images_numbers(tmp_path, layout):
    answers = [[3], [], [5, 8], [1]]
    (tmp_path / "real.json").write_text(json.dumps(answers))
    for number, value in ((1, 10), (2, 20), (3, 30), (4, 40)):
        folder = WNIDS[-number] if layout == "folders" else ""  # the folder says nothing about the labels
        save(tmp_path / "val" / folder / f"ILSVRC2012_val_{number:08d}.JPEG", value)
    data = settings("imagenet_real", tmp_path)
    scores = evaluate(ByBrightness({10: [3], 20: [3], 30: [8, 5], 40: [2, 1]}), data, **OPTIONS)
    assert scores["validation_images"] == 3
    assert scores["top1_percent"] == pytest.approx(200 / 3)
    assert scores["top5_percent"] == 100
    save(tmp_path / "val" / "ILSVRC2012_val_00000005.JPEG")
    with pytest.raises(ValueError, match="number from 1 to 4"):
        SOURCES["imagenet_real"].load(data, "validation")
    (tmp_path / "real.json").write_text('{"1": [3]}')
    with pytest.raises(ValueError, match=r"real\.json: expected a list of labels for each image"):
        SOURCES["imagenet_real"].load(data, "validation")


@pytest.mark.parametrize("name", RELATIVES)
def test_what_is_missing_is_said_with_where_to_get_it(tmp_path, name):
    for root in (None, str(tmp_path / "nowhere"), str(tmp_path)):
        data = data_settings(name, root=root)
        assert "http" in data.download
        with pytest.raises(FileNotFoundError, match=f"data.root={root}") as error:
            check_data(data, splits=("validation",))
        assert data.download in str(error.value)
    with pytest.raises(ValueError, match=f"data={name} is for evaluation only"):
        check_data(data_settings(name, root=str(tmp_path)))


def test_a_folder_that_is_no_class_is_named(tmp_path):
    save(tmp_path / "n99999999" / "a.jpg")
    with pytest.raises(ValueError, match="n99999999: no class of ImageNet-1k"):
        check_data(settings("imagenet_a", tmp_path), splits=("validation",))


def test_an_incomplete_data_set_is_noticed(tmp_path, caplog):
    save(tmp_path / WNIDS[6] / "a.jpg", 10)
    evaluate(ByBrightness({10: [6]}), settings("imagenet_a", tmp_path), **OPTIONS)
    assert "imagenet_a has 1 validation images" in caplog.text
    assert "not 7500" in caplog.text
