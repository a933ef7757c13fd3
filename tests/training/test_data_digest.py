"""Which data are the same: by names, labels and sizes, and small ones by content; large ones are listed once."""

import os
import shutil
from pathlib import Path

import pytest
import torch

import training.data.digest
from tests.slurm.sweeps import write_images
from tests.training.examples import small_digits
from training.data import data_digest, image_folder
from training.data.cifar import digest as cifar_digest
from training.data.digest import images_digest
from training.data.images import StoredImages


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_images(tmp_path / "images")
    settings = small_digits()
    settings.name, settings.source, settings.root, settings.num_classes = "mine", "image_folder", "", 2
    settings.root = str(tmp_path / "images")
    return settings


def digest(data) -> str | None:
    return data_digest(data, ("train", "validation"))


def test_no_split_has_no_digest(data):
    data.root = "/nowhere"
    assert data_digest(data, ()) is None


@pytest.mark.parametrize(
    "change", ["added", "removed", "renamed", "relabelled", "edited", "moved", "touched", "swapped"]
)
def test_what_changes_a_small_data_set(data, change):
    before, folder = digest(data), Path(data.root) / "train" / "dark"
    if change == "added":
        shutil.copy(folder / "0.png", folder / "new.png")
    elif change == "removed":
        (folder / "0.png").unlink()
    elif change == "renamed":
        (folder / "0.png").rename(folder / "another.png")
    elif change == "relabelled":
        (folder / "0.png").rename(folder.parent / "bright" / "from_dark.png")
    elif change == "edited":
        (folder / "0.png").write_bytes(bytes(reversed((folder / "0.png").read_bytes())))
    elif change == "moved":
        data.root = shutil.move(data.root, f"{data.root}-elsewhere")
    elif change == "touched":
        os.utime(folder / "0.png", (1, 1))
    elif change == "swapped":
        data.root = str(Path(data.root).rename(f"{data.root}-other"))
        write_images(Path(data.root.removesuffix("-other")))
    assert (digest(data) == before) == (change in ("moved", "touched", "swapped"))


def test_a_large_set_is_listed_once_until_it_changes(data, monkeypatch):
    monkeypatch.setattr(training.data.digest, "SMALL_COUNT", 3)
    listed = []
    monkeypatch.setattr(image_folder, "load", lambda *of, load=image_folder.load: listed.append(of) or load(*of))
    before = digest(data)
    assert len(listed) == 2
    assert digest(data) == before
    assert len(listed) == 2
    folder = Path(data.root) / "train" / "dark"
    (folder / "0.png").write_bytes(b"of another size")  # in place: no folder has changed, the sample has
    assert digest(data) != before
    assert len(listed) == 3
    shutil.copy(folder / "1.png", folder / "new.png")
    edited = digest(data)
    assert len(listed) == 4
    (cached,) = [path for path in Path(os.environ["XDG_CACHE_HOME"]).rglob("*.json") if b"dark" in path.read_bytes()][
        :1
    ]
    for path in cached.parent.iterdir():
        path.write_text("damaged")
    assert digest(data) == edited


def test_images_in_memory_are_known_by_pixels_and_labels(data):
    def of(pixels, labels):
        return images_digest(data, "train", lambda *_: StoredImages(torch.tensor(pixels), torch.tensor(labels)))

    one = of([[[[0]]], [[[1]]]], [0, 1])
    assert of([[[[0]]], [[[1]]]], [0, 1]) == one
    assert len({one, of([[[[0]]], [[[2]]]], [0, 1]), of([[[[0]]], [[[1]]]], [1, 1])}) == 3


def test_cifar_is_known_before_it_is_there(data):
    data.root = "/nowhere"
    data.source = "cifar10"
    ten = cifar_digest(data, "train")
    data.source = "cifar100"
    assert cifar_digest(data, "train") != ten != cifar_digest(data, "validation")
