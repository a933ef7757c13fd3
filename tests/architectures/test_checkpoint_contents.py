"""What is no whole checkpoint, and what no weight can be, is refused in one sentence that names file and entry."""

import gzip
import io
import os
import pickle
import tarfile
import zipfile

import pytest
import torch
from safetensors.torch import save

from architectures.checkpoints import CheckpointError, check_entry, read_checkpoint, weights_in


def pickled(contents, **how):
    file = io.BytesIO()
    torch.save(contents, file, **how)
    return file.getvalue()


WEIGHTS = {"weight": torch.arange(1000.0)}
WHOLE = pickled(WEIGHTS)


class Attack:
    def __reduce__(self):
        return os.system, ("touch attacked",)


def in_tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights"), io.BytesIO())
    return file.getvalue()


def in_zip(name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "text")
    return file.getvalue()


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.pth", b"", "it is empty"),
        ("cut.pth", WHOLE[:-100], "it is an archive whose end is missing"),
        ("flipped.pth", flipped(WHOLE), "the checksum of .* is wrong"),
        ("old_and_cut.pth", pickled(WEIGHTS, _use_new_zipfile_serialization=False)[:-100], "it cannot be read"),
        ("code.pth", pickled({"model": Attack()}), r"objects beside tensors and plain values \(posix.system\)"),
        ("network.pth", pickled(torch.nn.Linear(1, 1)), r"plain values \(torch.nn.modules.linear.Linear\)"),
        ("old_code.pth", pickle.dumps(Attack()), "it cannot be read|posix.system"),
        ("packed.pth", gzip.compress(WHOLE), r"compressed \(gzip\)"),
        ("packed.tar", gzip.compress(in_tar()), r"compressed \(gzip\)"),
        ("files.tar", in_tar(), "tar archive: unpack it"),
        ("other.zip", in_zip("note.txt"), "an archive of something else"),
        ("program.pth", in_zip("archive/constants.pkl"), "an archive of something else"),
        ("page.pth", b"<!DOCTYPE html><html></html>", "web page"),
        ("lfs.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        ("text.pth", b"hello", "it cannot be read"),
        ("cut.safetensors", save(WEIGHTS)[:-10], "file not fully covered"),
        ("text.safetensors", b"hello", "header"),
        ("packed.safetensors", gzip.compress(save(WEIGHTS)), r"compressed \(gzip\)"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,  # archives tell the time
)
def test_other_and_damaged_files(name, content, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as refusal:
        read_checkpoint(tmp_path / name)
    sentence = str(refusal.value)
    assert sentence.startswith(f"{tmp_path / name} is damaged or not a checkpoint: ")
    # torch says how to run the code in a file.
    assert "\n" not in sentence
    assert "weights_only" not in sentence
    assert "trust" not in sentence
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize("contents", [{0: torch.ones(1)}, {"model": {"weight": torch.ones(1), 7: torch.ones(1)}}])
def test_entries_without_a_name(contents):
    with pytest.raises(CheckpointError, match=r"an entry is called [07], which is a int and no name"):
        weights_in(contents)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_of_every_precision_are_taken(dtype):
    check_entry("weight", torch.ones(2, dtype=dtype), torch.ones(2))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_weights_are_floating_point_numbers(dtype):
    with pytest.raises(CheckpointError, match=f"weight is stored as {str(dtype)[6:]}, but .* floating-point"):
        check_entry("weight", torch.ones(2, dtype=dtype), torch.ones(2))


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor([1.0, torch.nan]),
        torch.tensor([1, -torch.inf]).half(),
        torch.tensor([1e300, 0], dtype=torch.double),
    ],
)
def test_weights_are_finite(values):
    with pytest.raises(CheckpointError, match=r"weight holds NaN or infinite values \(1 of 2\)"):
        check_entry("weight", values, torch.ones(2))


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (torch.tensor(torch.inf), "stored as float32, but the network's is an integer"),
        (torch.tensor(True), "stored as bool, but the network's is an integer"),
        (torch.tensor(-1), "is -1, which is no number of batches"),
        # What infinity becomes as an integer.
        (torch.tensor(torch.iinfo(torch.int64).max), "which is no number of batches"),
        (torch.tensor(torch.iinfo(torch.int64).min), "which is no number of batches"),
    ],
)
def test_counts_are_counts(count, words):
    check_entry("norm.num_batches_tracked", torch.tensor(300, dtype=torch.int32), torch.tensor(0))
    with pytest.raises(CheckpointError, match=f"norm.num_batches_tracked .*{words}"):
        check_entry("norm.num_batches_tracked", count, torch.tensor(0))


def test_what_is_no_plain_tensor():
    with pytest.raises(CheckpointError, match="weight is no plain tensor"):
        check_entry("weight", torch.ones(2).to_sparse(), torch.ones(2))
    with pytest.raises(CheckpointError, match=r"norm\.running_var holds negative values"):
        check_entry("norm.running_var", torch.tensor([1.0, -1.0]), torch.ones(2))
