"""Damaged and unusual image files, really written: what is read, what is named, what is tolerated, what fails."""

import io
import logging
import os

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.examples import data_settings, recipe_settings, tiny_network
from training.data import training_batches, validation_batches
from training.data.decoding import DECODERS, UndecodableError, decode
from training.data.findings import CorruptImagesError
from training.data.images import NO_LABEL
from training.evaluate import NoImagesError, evaluate

CPU = torch.device("cpu")


def photo(seed=0, size=(40, 30)):
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(picture, kind="JPEG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Two classes; forty training and twenty validation images of each."""
    for split, count in (("train", 40), ("val", 20)):
        for label, name in enumerate(("ant", "bee")):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                (tmp_path / split / name / f"{number:02d}.jpg").write_bytes(encoded(photo(100 * label + number)))
    return tmp_path


def settings(folder, **changes):
    return data_settings("image_folder", root=str(folder), **({"resolution": 8, "workers": 0} | changes))


RECIPE = recipe_settings(batch_size=16, random_augment="rand-m9-mstd0.5-inc1")


def training(folder, **changes):
    return training_batches(settings(folder, **changes), RECIPE, seed=0, device=CPU)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("options", [{"quality": 90}, {"quality": 95, "subsampling": 0}, {"progressive": True}])
def test_all_decoders_give_the_same_pixels(decoder, options):
    for size in ((40, 30), (41, 33), (7, 1)):
        for mode in ("RGB", "L"):
            content = encoded(photo(size=size).convert(mode), **options)
            expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
            pixels, remark = decode(content, decoder)
            assert np.array_equal(pixels, expected)
            assert remark == ""


@pytest.mark.parametrize("decoder", DECODERS)
def test_unusual_images_are_converted_and_say_so(decoder):
    cmyk = encoded(photo().convert("CMYK"))
    pixels, remark = decode(cmyk, decoder)
    assert remark == "CMYK to RGB"
    assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(cmyk)).convert("RGB")))
    deep = Image.fromarray(np.array([[0, 128, 257 * 100, 65535]], dtype=np.uint16))
    pixels, remark = decode(encoded(deep, "PNG"), decoder)
    assert remark == "16 bits scaled to 8"
    assert pixels[0, :, 1].tolist() == [0, 0, 100, 255]  # Pillow's own conversion would whiten all but the first
    for kind in ("GIF", "PNG", "WEBP"):
        frames = encoded(photo(1), kind, save_all=True, append_images=[photo(2), photo(3)])
        pixels, remark = decode(frames, decoder)
        assert remark == "the first of 3 frames"
        assert np.abs(pixels.astype(int) - np.asarray(photo(1)).astype(int)).mean() < 20
    for mode in ("L", "P", "RGBA", "1", "LA"):
        assert decode(encoded(photo().convert(mode), "PNG"), decoder)[0].shape == (30, 40, 3)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>404 Not Found</html>",
        encoded(photo())[: len(encoded(photo())) // 2],
        encoded(photo())[:20],
        encoded(photo(), "PNG")[:300],
        b"\xff\xd8\xff\xe0" + bytes(500),
    ],
    ids=["empty", "html", "half", "header", "half png", "zeros"],
)
def test_damaged_images_are_refused(decoder, content):
    with pytest.raises(UndecodableError):
        decode(content, decoder)


def test_a_few_damaged_images_are_named_counted_and_replaced(folder, caplog):
    (folder / "train" / "ant" / "03.jpg").write_bytes(b"")
    broken = folder / "train" / "bee" / "07.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    (folder / "train" / "ant" / "05.jpg").write_bytes(encoded(photo().convert("CMYK")))
    batches = training(folder, max_corrupt_share=0.025)  # 2 of 80
    with caplog.at_level(logging.INFO):
        epochs = [list(batches.epoch(epoch)) for epoch in (0, 1)]
    assert [pixels.shape for pixels, _ in epochs[0]] == [(16, 3, 8, 8)] * 5
    assert all(int(labels.min()) >= 0 for _, labels in epochs[0])
    assert {name.split("/")[-2:][0] for name in batches.findings.corrupt} == {"ant", "bee"}
    assert len(batches.findings.corrupt) == 2
    assert list(batches.findings.converted.values()) == ["CMYK to RGB"]
    named = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(named) == 2  # once, though there were two epochs
    assert any("ant/03.jpg cannot be read as an image: the file is empty" in line for line in named)
    again = training(folder, max_corrupt_share=0.025)
    for (pixels, labels), (others, other_labels) in zip(epochs[0], again.epoch(0), strict=True):
        assert torch.equal(pixels, others)
        assert torch.equal(labels, other_labels)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_replacements_do_not_depend_on_the_workers(folder):
    for number in range(0, 40, 2):
        (folder / "train" / "ant" / f"{number:02d}.jpg").write_bytes(b"no image")
    alone, helped = (training(folder, max_corrupt_share=0.5, workers=workers) for workers in (0, 3))
    for (pixels, labels), (others, other_labels) in zip(alone.epoch(1), helped.epoch(1), strict=True):
        assert torch.equal(pixels, others)
        assert torch.equal(labels, other_labels)
    assert alone.findings.corrupt == helped.findings.corrupt
    assert len(helped.findings.corrupt) == 20


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")
@pytest.mark.parametrize("workers", [0, 2])
def test_too_many_damaged_images_fail_with_their_names(folder, workers):
    for number in range(3):
        (folder / "train" / "ant" / f"{number:02d}.jpg").write_bytes(b"")
    batches = training(folder, max_corrupt_share=0.025, workers=workers)
    with pytest.raises(CorruptImagesError, match=r"3 of 80 images .* data\.max_corrupt_share=0\.025") as error:
        list(batches.epoch(0))
    assert "ant/00.jpg" in str(error.value)
    with pytest.raises(CorruptImagesError, match=r"[1-3] of 80 images"):
        list(training(folder).epoch(0))  # by default, one in a thousand


def test_a_folder_of_nothing_but_damage_fails_even_where_all_is_tolerated(folder):
    for path in (folder / "train").glob("*/*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(CorruptImagesError, match="others in its place"):
        next(training(folder, max_corrupt_share=1.0).epoch(0))


def test_damaged_validation_images_are_left_out_of_the_scores(folder):
    network = tiny_network()
    network.head = torch.nn.Linear(256, 2)
    options = {"precision": "fp32", "device": "cpu", "batch_size": 16, "show_progress": False}
    (folder / "val" / "ant" / "00.jpg").unlink()
    without = evaluate(network, settings(folder), **options)
    (folder / "val" / "ant" / "00.jpg").write_bytes(b"")
    scores = evaluate(network, settings(folder, max_corrupt_share=0.05), **options)
    assert (scores["validation_images"], scores["corrupt_validation_images"]) == (39, 1)
    assert scores["top1_percent"] == without["top1_percent"]
    assert scores["validation_loss"] == pytest.approx(without["validation_loss"], rel=1e-6)
    with pytest.raises(CorruptImagesError, match=r"1 of 40 images.*val/ant/00\.jpg"):
        evaluate(network, settings(folder), **options)


def test_a_file_that_vanishes_after_the_listing_is_a_damaged_image(folder):
    batches = validation_batches(settings(folder), batch_size=8, device=CPU)
    (folder / "val" / "bee" / "11.jpg").unlink()
    with pytest.raises(CorruptImagesError, match=r"val/bee/11\.jpg cannot be read as an image: .*No such file"):
        list(batches.epoch(0))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_resizing_by_torch_is_timms_transform_but_for_rounding(folder, interpolation):
    recipe = recipe_settings("contnet_plain", batch_size=16)
    sharp = {"resolution": 24, "interpolation": interpolation}
    by_torch = training_batches(settings(folder, **sharp), recipe, seed=0, device=CPU).epoch(0)
    by_pillow = training_batches(settings(folder, resizer="pillow", **sharp), recipe, seed=0, device=CPU).epoch(0)
    for (pixels, labels), (others, other_labels) in zip(by_torch, by_pillow, strict=True):
        assert torch.equal(labels, other_labels)
        difference = (pixels.int() - others.int()).abs()
        assert int(difference.max()) <= 8
        assert float(difference.float().mean()) < 0.1


def test_a_pipe_among_the_images_is_named_and_counted(folder, caplog):
    os.mkfifo(folder / "val" / "ant" / "pipe.jpg")
    (folder / "val" / "bee" / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    batches = validation_batches(settings(folder, max_corrupt_share=0.1), batch_size=8, device=CPU)
    assert sum(int((labels != NO_LABEL).sum()) for _, labels in batches.epoch(0)) == 40
    assert len(batches.findings.corrupt) == 2
    assert "pipe.jpg cannot be read as an image: it is not a regular file" in caplog.text


def test_validation_images_that_are_all_damaged(folder):
    for path in folder.glob("val/*/*.jpg"):
        path.write_bytes(b"no image")
    with pytest.raises(NoImagesError, match=r"none of the 40 validation images .*00\.jpg"):
        evaluate(
            tiny_network(),
            settings(folder, max_corrupt_share=1.0),
            precision="fp32",
            device="cpu",
            batch_size=8,
            show_progress=False,
        )
