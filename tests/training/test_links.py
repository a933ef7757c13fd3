"""Symbolic links in image folders: those to files and of whole classes are common, those that lead back are refused."""

import numpy as np
import pytest
from PIL import Image

from tests.training.examples import data_settings
from training.data import SOURCES


@pytest.fixture
def folder(tmp_path):
    """One image in each of two classes, in training and validation; one class is a link, one image too."""
    for split in ("train", "val"):
        (tmp_path / "storage" / split / "bee").mkdir(parents=True)
        (tmp_path / split / "ant" / "deep").mkdir(parents=True)
        for path in (tmp_path / split / "ant" / "deep" / "1.png", tmp_path / "storage" / split / "bee" / "2.png"):
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
        (tmp_path / split / "bee").symlink_to(tmp_path / "storage" / split / "bee")
        (tmp_path / split / "ant" / "3.png").symlink_to("deep/1.png")
    return tmp_path


def load(folder, split="train"):
    return SOURCES["image_folder"].load(data_settings("image_folder", root=str(folder)), split)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_links_to_files_and_of_class_folders_are_followed(folder, split):
    images = load(folder, split)
    assert [path.rpartition("/")[2] for path in images.paths] == ["3.png", "1.png", "2.png"]
    assert images.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("target", [".", "..", "../..", "/"])
def test_a_link_to_a_folder_above_is_refused(folder, target):
    (folder / "train" / "ant" / "loop").symlink_to(target)
    with pytest.raises(ValueError, match=r"ant/loop is a symbolic link to .*, which it lies in: remove the link"):
        load(folder)


def test_a_link_to_another_class_is_refused(folder):
    (folder / "train" / "ant" / "more").symlink_to("../bee")
    with pytest.raises(ValueError, match=r"train/bee and .*train/ant/more are the same folder"):
        load(folder)


def test_so_it_is_where_classes_are_wordnet_ids(folder, tmp_path):
    root = tmp_path / "wnids"
    for name in ("n01440764", "n01443537"):
        (root / name).mkdir(parents=True)
    (root / "n01440764" / "loop").symlink_to("..")
    data = data_settings("imagenet_a", root=str(root))
    with pytest.raises(ValueError, match="n01440764/loop is a symbolic link to"):
        SOURCES["wnid_folders"].load(data, "validation")
