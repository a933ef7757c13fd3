"""Files that are never found half-written."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Replaces `path`. At any moment it is absent, as before, or complete and on the disk, even across a power cut.

    Raises OSError, e.g. on a full disk; `path` is then as before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
