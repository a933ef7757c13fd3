"""Readers of files: idx, CIFAR, image folders, ImageNet's two layouts; each with the faults that files have."""

import gzip
import hashlib
import pickle
import shutil
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from tests.training.examples import data_settings, idx_bytes
from training.data import SOURCES, check_data, count_classes, digits, validation_batches
from training.data.decoding import decode
from training.data.idx import read_idx

DEBIAN_FOLDER = Path(data_settings("fashion_mnist").root)


@pytest.fixture
def fashion_folder(tmp_path):
    random = np.random.default_rng(0)
    for prefix, count in (("train", 30), ("t10k", 20)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        labels = (np.arange(count) % 10).astype(np.uint8)
        (tmp_path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
    return tmp_path


def test_fashion_mnist_from_plain_and_compressed_files(fashion_folder):
    data = data_settings("fashion_mnist", root=str(fashion_folder))
    check_data(data)
    train = SOURCES["fashion_mnist"].load(data, "train")
    expected = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    assert torch.equal(train.pixels[:, 0], torch.from_numpy(expected))
    assert train.labels.tolist() == [i % 10 for i in range(30)]
    assert len(SOURCES["fashion_mnist"].load(data, "validation")) == 20


def test_a_missing_fashion_mnist_file_is_named_with_its_package(fashion_folder):
    (fashion_folder / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-images-idx3-ubyte.*dataset-fashion-mnist"):
        check_data(data_settings("fashion_mnist", root=str(fashion_folder)))
    with pytest.raises(FileNotFoundError, match=r"data.root=None"):
        check_data(data_settings("fashion_mnist", root=None))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a", b"\x00\x00\x08", "not an idx file"),
        ("a", b"\x89PNG....", "not an idx file"),
        ("a", idx_bytes(np.zeros((2, 3), np.uint8))[:9], "header is incomplete"),
        ("a", idx_bytes(np.zeros((2, 3), np.uint8))[:-1], "holds 5 elements, its header promises 6"),
        ("a.gz", gzip.compress(idx_bytes(np.zeros((200, 3), np.uint8)), mtime=0)[:-12], "truncated or damaged"),
        ("a.gz", b"not gzip at all", "truncated or damaged"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        read_idx(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_idx_files_that_do_not_belong_together(fashion_folder):
    (fashion_folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.zeros(29, np.uint8))))
    with pytest.raises(ValueError, match="do not belong together"):
        SOURCES["fashion_mnist"].load(data_settings("fashion_mnist", root=str(fashion_folder)), "train")


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason=f"needs Fashion-MNIST in {DEBIAN_FOLDER}: make fashion-mnist")
def test_debians_fashion_mnist_is_the_real_one():
    data = data_settings("fashion_mnist")
    images = SOURCES["fashion_mnist"].load(data, "validation")
    assert images.pixels.shape == (10_000, 1, 28, 28)
    assert images.labels.bincount().tolist() == [1000] * 10
    train = SOURCES["fashion_mnist"].load(data, "train").pixels
    assert float(train.double().mean()) / 255 == pytest.approx(data.mean[0], abs=5e-4)
    assert float(train.double().std()) / 255 == pytest.approx(data.std[0], abs=5e-4)


def test_the_digits_statistics_in_conf_are_measured():
    data = data_settings("digits")
    pixels = digits.load(data, "train").pixels.double() / 255
    assert float(pixels.mean()) == pytest.approx(data.mean[0], abs=2e-3)
    assert float(pixels.std()) == pytest.approx(data.std[0], abs=2e-3)


def test_cifar_from_files_and_without_a_network(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise URLError("Network is unreachable")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)
    data = data_settings("cifar10", root=str(tmp_path))
    check_data(data)
    with pytest.raises(OSError, match=r"could not be downloaded.*unreachable.*cifar-10-python.tar.gz") as error:
        SOURCES["cifar10"].load(data, "train")
    assert f"{tmp_path}/cifar-10-batches-py" in str(error.value)
    with pytest.raises(ValueError, match=r"data.root is not set.*cifar-100-python"):
        check_data(data_settings("cifar100"))

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    for name, content in (
        ("batch", {"data": pixels, "labels": [3, 7]}),
        ("batches.meta", {"label_names": [str(i) for i in range(10)]}),
    ):
        (folder / name).write_bytes(pickle.dumps(content))
    checksum = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in ("batch", "batches.meta")}
    monkeypatch.setattr(CIFAR10, "train_list", [["batch", checksum["batch"]]])
    monkeypatch.setattr(CIFAR10, "test_list", [["batch", checksum["batch"]]])
    monkeypatch.setitem(CIFAR10.meta, "md5", checksum["batches.meta"])
    images = SOURCES["cifar10"].load(data, "train")
    assert torch.equal(images.pixels, torch.from_numpy(pixels).reshape(2, 3, 32, 32))
    assert images.labels.tolist() == [3, 7]


def save_image(path, value, size=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


@pytest.fixture
def image_root(tmp_path):
    for split, count in (("train", 4), ("val", 2)):
        for value, name in enumerate(("ant", "bee", "cat")):
            for index in range(count):
                nested = "deeper/" if index % 2 else ""
                save_image(tmp_path / split / name / f"{nested}{index}.PNG", 40 * value)
    return tmp_path


def test_image_folders(image_root):
    data = data_settings("image_folder", root=str(image_root), resolution=8, workers=0)
    check_data(data)
    assert count_classes(data) == 3
    train = SOURCES["image_folder"].load(data, "train")
    assert train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    for index in (0, 5, 11):
        pixels, _ = decode(train.read(index), "pillow")
        assert pixels[0, 0].tolist() == [40 * train.labels[index]] * 3
    assert len(SOURCES["image_folder"].load(data, "validation")) == 6


def test_the_other_name_of_the_validation_folder(image_root):
    (image_root / "val").rename(image_root / "validation")
    check_data(data_settings("image_folder", root=str(image_root)))


def test_evaluation_needs_no_training_images(image_root):
    shutil.rmtree(image_root / "train")
    data = data_settings("image_folder", root=str(image_root))
    check_data(data, splits=("validation",))
    assert count_classes(data) == 3
    with pytest.raises(FileNotFoundError, match="no folder train"):
        check_data(data)


def test_faults_of_image_folders_are_one_sentence(image_root):
    data = data_settings("image_folder", root=str(image_root), resolution=8, workers=0)
    with pytest.raises(ValueError, match=r"data.root is not set"):
        check_data(data_settings("image_folder"))
    with pytest.raises(FileNotFoundError, match="has no folder val or validation"):
        check_data(data_settings("image_folder", root=str(image_root / "train")))
    with pytest.raises(FileNotFoundError, match=r"data\.root=/nowhere is not there"):
        check_data(data_settings("imagenet", root="/nowhere"))
    with pytest.raises(ValueError, match=r"data.num_classes=5, but .* has 3 classes"):
        check_data(data_settings("image_folder", root=str(image_root), num_classes=5))
    (image_root / "train" / "dog").mkdir()
    with pytest.raises(ValueError, match="train/dog holds no images"):
        SOURCES["image_folder"].load(data, "train")
    (image_root / "val" / "elk").mkdir()
    with pytest.raises(ValueError, match=r"val/elk: no class of this name"):
        check_data(data)
    (image_root / "val" / "elk").rmdir()
    broken = image_root / "val" / "ant" / "0.PNG"
    Image.effect_noise((40, 40), 50).save(broken)
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(OSError, match=r"val/ant/0.PNG cannot be read as an image"):
        list(validation_batches(data, batch_size=2, device=torch.device("cpu")).epoch(0))


def test_imagenet_in_both_layouts(image_root):
    data = data_settings("imagenet", root=str(image_root), num_classes=3)
    check_data(data)
    by_folders = SOURCES["imagenet"].load(data, "validation")
    lines = [
        f"{Path(p).relative_to(image_root / 'val')} {y}"
        for p, y in zip(by_folders.paths, by_folders.labels.tolist(), strict=True)
    ]
    (image_root / "meta").mkdir()
    (image_root / "meta" / "val.txt").write_text("\n".join(reversed(lines)) + "\n")
    check_data(data)
    by_list = SOURCES["imagenet"].load(data, "validation")
    assert by_list.paths == by_folders.paths[::-1]
    assert by_list.labels.tolist() == by_folders.labels.tolist()[::-1]
    (image_root / "meta" / "val.txt").write_text("ant/0.PNG 0\nant/deeper/1.PNG\n")
    with pytest.raises(ValueError, match=r"val.txt, line 2: expected 'relative/path label'"):
        SOURCES["imagenet"].load(data, "validation")
    with pytest.raises(ValueError, match=r"data.num_classes=1000, but .* has 3 classes"):
        check_data(data_settings("imagenet", root=str(image_root)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "digit"}, ["data.source='digit'", "image_folder"]),
        ({"interpolation": "nearest"}, ["data.interpolation='nearest'", "bicubic"]),
        ({"resolution": 0}, ["data.resolution=0"]),
        ({"num_classes": 1}, ["data.num_classes=1"]),
        ({"crop_pct": 1.5}, ["data.crop_pct=1.5"]),
        ({"mean": [0.5]}, ["data.mean=[0.5]", "three"]),
        ({"std": [0.5, 0.0, 0.5]}, ["data.std", "positive"]),
        ({"horizontal_flip": 2.0}, ["data.horizontal_flip=2.0"]),
        ({"workers": -1}, ["data.workers=-1"]),
    ],
)
def test_impossible_settings_name_key_and_rule(changes, words):
    with pytest.raises(ValueError, match="data") as refusal:
        check_data(data_settings("digits", **changes))
    for word in words:
        assert word in str(refusal.value)
