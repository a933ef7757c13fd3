"""Tar shards and Hugging Face data sets give what the same images give as files, however many workers read them."""

import bz2
import gc
import gzip
import io
import json
import lzma
import os
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.examples import data_settings, recipe_settings
from training.data import SOURCES, check_data, training_batches, validation_batches
from training.data.findings import CorruptImagesError

CPU = torch.device("cpu")
RECIPE = recipe_settings("contnet_plain", batch_size=8)


def jpeg(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path, monkeypatch):
    """Three training archives of eight images, one for validation; classes 0 to 2."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for shard in range(4):
        name = f"train-{shard:06d}.tar" if shard < 3 else "val-000000.tar"
        with tarfile.open(tmp_path / name, "w") as archive:
            for number in range(8 * shard, 8 * shard + 8):
                add(archive, f"part/{number:05d}.jpg", jpeg(number))
                add(archive, f"part/{number:05d}.json", b"{}")
                add(archive, f"part/{number:05d}.cls", str(number % 3).encode())
    return tmp_path


def settings(name, root, **changes):
    return data_settings(name, root=str(root), **({"num_classes": 3, "resolution": 8, "workers": 0} | changes))


def test_shards_are_read_by_place_and_indexed_once(shards):
    data = settings("tar_shards", shards)
    check_data(data)
    images = SOURCES["tar_shards"].load(data, "train")
    assert images.labels.tolist() == [number % 3 for number in range(24)]
    assert [images.read(index) for index in (0, 7, 8, 23, 1)] == [jpeg(n) for n in (0, 7, 8, 23, 1)]
    assert "train-000001.tar at byte" in images.name(8)
    indexes = list((shards / "cache").rglob("*.npy"))
    assert len(indexes) == 3
    times = [path.stat().st_mtime_ns for path in indexes]
    assert torch.equal(SOURCES["tar_shards"].load(data, "train").labels, images.labels)
    assert [path.stat().st_mtime_ns for path in indexes] == times


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_shards_give_the_same_epochs_with_any_number_of_workers_from_any_batch(shards):
    alone = training_batches(settings("tar_shards", shards), RECIPE, seed=0, device=CPU)
    helped = training_batches(settings("tar_shards", shards, workers=3), RECIPE, seed=0, device=CPU)
    batches = list(alone.epoch(1))
    assert len(batches) == 3
    for first in (0, 2):
        for (pixels, labels), (others, other_labels) in zip(batches[first:], helped.epoch(1, first), strict=True):
            assert torch.equal(pixels, others)
            assert torch.equal(labels, other_labels)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_shards_hold_what_timms_reader_finds_in_them(shards):
    pytest.importorskip("webdataset")
    from timm.data.readers import create_reader

    split = {"name": "train", "num_samples": 24, "shard_lengths": [8, 8, 8]}
    split["filenames"] = [f"train-{shard:06d}.tar" for shard in range(3)]
    (shards / "_info.json").write_text(json.dumps({"splits": {"train": split}}))
    reader = create_reader("wds/", root=str(shards), split="train", is_training=False, batch_size=8)
    theirs = [(np.asarray(image.convert("RGB")), label) for image, label in reader]
    gc.collect()  # the archives that this reader leaves open
    images = SOURCES["tar_shards"].load(settings("tar_shards", shards), "train")
    assert len(theirs) == len(images)
    for (pixels, label), index in zip(theirs, range(len(images)), strict=True):
        assert label == int(images.labels[index])
        assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(images.read(index)))))


def test_faults_of_shards_are_one_sentence(shards):
    (shards / "val-000000.tar").rename(shards / "test.tar")
    with pytest.raises(FileNotFoundError, match=r"holds no val\*\.tar or validation\*\.tar"):
        check_data(settings("tar_shards", shards))
    with pytest.raises(ValueError, match=r"data\.num_classes is not set"):
        training_batches(settings("tar_shards", shards, num_classes=None), RECIPE, seed=0, device=CPU)
    with pytest.raises(
        ValueError, match=r"train-000000\.tar at byte \d+ has label 2, but data\.num_classes=2 allows 0"
    ):
        training_batches(settings("tar_shards", shards, num_classes=2), RECIPE, seed=0, device=CPU)
    with tarfile.open(shards / "train-000000.tar", "a") as archive:
        add(archive, "part/99999.png", b"unlabelled")
    with pytest.raises(ValueError, match=r"train-000000\.tar: part/99999 has no \.cls"):
        training_batches(settings("tar_shards", shards), RECIPE, seed=0, device=CPU)
    whole = (shards / "train-000001.tar").read_bytes()
    (shards / "train-000000.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"train-000000\.tar"):
        training_batches(settings("tar_shards", shards), RECIPE, seed=0, device=CPU)
    with tarfile.open(shards / "train-000000.tar", "w") as archive:
        for number in range(8):
            add(archive, f"{number}.jpg", b"damaged")
            add(archive, f"{number}.cls", b"0")
    batches = training_batches(settings("tar_shards", shards), RECIPE, seed=0, device=CPU)
    with pytest.raises(CorruptImagesError, match=r"train-000000\.tar at byte"):
        list(batches.epoch(0))


def test_a_data_set_of_hugging_face_from_a_folder(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(3)})
    (tmp_path / "set").mkdir()
    for split, numbers in (("train", range(24)), ("test", range(24, 30))):
        rows = {"image": [{"bytes": jpeg(n), "path": None} for n in numbers], "label": [n % 3 for n in numbers]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "set" / f"{split}-0.parquet")
    data = settings("hugging_face", tmp_path / "set")
    check_data(data)
    images = SOURCES["hugging_face"].load(data, "train")
    assert images.labels.tolist() == [number % 3 for number in range(24)]
    assert images.read(5) == jpeg(5)
    assert [len(labels) for _, labels in validation_batches(data, batch_size=4, device=CPU).epoch(0)] == [4, 2]
    epochs = [list(training_batches(data, RECIPE, seed=0, device=CPU).epoch(0)) for _ in range(2)]
    assert all(torch.equal(first[0], second[0]) for first, second in zip(*epochs, strict=True))


def test_without_the_package_datasets_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("training.data.hugging_face.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'stmbench\[hugging-face\]'"):
        check_data(data_settings("hugging_face", root="beans", num_classes=3))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_archive_is_to_be_decompressed(shards, compress):
    """Its images cannot be read by their place."""
    path = shards / "val-000000.tar"
    path.write_bytes(compress(path.read_bytes()))
    data = settings("tar_shards", shards)
    with pytest.raises(ValueError, match=r"val-000000\.tar is compressed \(.*\): decompress it"):
        SOURCES["tar_shards"].load(data, "validation")
    path.rename(shards / "val-000000.tar.gz")
    with pytest.raises(FileNotFoundError, match=r"holds no val\*\.tar .*but .*val-000000\.tar\.gz: decompress it"):
        check_data(data)


def test_an_archive_that_is_a_pipe_is_not_waited_for(shards):
    os.mkfifo(shards / "val-000001.tar")
    with pytest.raises(ValueError, match=r"val-000001\.tar is not a regular file"):
        check_data(settings("tar_shards", shards))
