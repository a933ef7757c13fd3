"""What lies on the disk is whole, and a damaged state gives way to the one before."""

import errno
import os

import pytest
import torch
from safetensors.torch import load_file

from tests.training.examples import tiny_network
from training.checkpoint import load_state, newest_state, remove_unfinished, save_state, save_weights
from training.whole_file import write_whole

CPU = torch.device("cpu")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OSError, match="gone"):
        save_weights(tiny_network(), tmp_path / "gone" / "last.safetensors")


def test_weights_are_safetensors_of_everything_persistent(tmp_path):
    network = tiny_network()
    network.twin = network.head  # two names for the same memory
    save_weights(network, tmp_path / "w.safetensors")
    stored = load_file(tmp_path / "w.safetensors")
    assert stored.keys() == network.state_dict().keys()
    assert all(torch.equal(stored[name], value) for name, value in network.state_dict().items())


def test_the_newest_states_are_kept(tmp_path):
    for step in range(98, 103):
        save_state(tmp_path, step, {"step": step}, kept=3)
    names = [f"trainer_step_{step:08d}.pt" for step in (100, 101, 102)]
    assert sorted(os.listdir(tmp_path)) == names
    assert load_state(newest_state(tmp_path), CPU) == {"step": 102}


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_state_gives_way_to_the_one_before_with_a_word(tmp_path, caplog, damage):
    for step in (1, 2):
        save_state(tmp_path, step, {"step": step, "values": torch.arange(5000)}, kept=2)
    path = tmp_path / "trainer_step_00000002.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"truncated": content[: len(content) // 2], "flipped": content, "empty": b""}[damage])
    assert load_state(newest_state(tmp_path), CPU)["step"] == 1
    assert "trainer_step_00000002.pt is damaged" in caplog.text


def test_no_state_is_no_state(tmp_path):
    assert newest_state(tmp_path) is None


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    save_state(tmp_path, 1, {"step": 1}, kept=2)
    (tmp_path / ".trainer_step_00000002.pt.4711").write_bytes(b"half")
    remove_unfinished(tmp_path)
    assert os.listdir(tmp_path) == ["trainer_step_00000001.pt"]
