"""From an error to what a record says about it: its kind, one sentence, and the traceback for whoever needs it."""

import errno
import json
import time
import traceback
from pathlib import Path
from typing import Any

WORDS_OF_RANKS = "failure-rank*.json"
# The CPU's allocator and CUDA's libraries raise plain RuntimeErrors.
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
# What gloo and NCCL say when a peer is gone.
LOST_RANK = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")
LESS_MEMORY = (
    "training needs less with task.gradient_checkpointing=true, which learns the same, and then with a larger "
    "recipe.accumulation, which changes what batch norms see"
)
REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space, then the same command continues",
    errno.EDQUOT: "the quota is used up: free some space, then the same command continues",
    errno.EROFS: "the file system is read-only: make it writable, then the same command continues",
    errno.EACCES: "the directory may not be written to: change its permissions, then the same command continues",
}


def failure(error: Exception) -> dict[str, Any]:
    """Status, reason and traceback of a record."""
    sentence = str(error).strip() or "no message"
    if isinstance(error, OSError) and error.errno in REMEDIES:
        sentence = f"{sentence}; {REMEDIES[error.errno]}"
    if isinstance(error, RuntimeError) and any(words in sentence for words in LOST_RANK):
        sentence = f"another rank died; the same command continues ({sentence.splitlines()[0]})"
    if exhausted := _is_out_of_memory(error):
        sentence = f"{sentence.splitlines()[0]}; {LESS_MEMORY}"
    return {
        "status": "out_of_memory" if exhausted else "failed",
        "reason": f"{type(error).__name__}: {sentence}",
        "traceback": "".join(traceback.format_exception(error)),
    }


def word_of_a_rank(directory: Path, *, patience: bool = False) -> dict[str, Any]:
    """What another rank that failed left behind, to be merged into the record; nothing where none did.

    With `patience`, a rank gets a moment: the leader may have seen the connection break before the word was written.
    """
    deadline = time.monotonic() + (2.0 if patience else 0.0)
    while True:
        for path in sorted(directory.glob(WORDS_OF_RANKS)):
            try:
                word = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:  # half written so far
                continue
            return word | {"reason": f"rank {path.stem.removeprefix('failure-rank')}: {word['reason']}"}
        if time.monotonic() >= deadline:
            return {}
        time.sleep(0.1)


def _is_out_of_memory(error: BaseException | None) -> bool:
    import torch

    if error is None:
        return False
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY):
        return True
    return _is_out_of_memory(error.__cause__)
