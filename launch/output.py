"""Whether a folder can be written to: asked before anything is computed that would have nowhere to go."""

import errno
import tempfile

from .failures import REMEDIES
from .submission import LaunchError, Sweep

OF_FOLDERS = {
    errno.ENOTDIR: "that is a file, or lies in one: give another folder",
    errno.EEXIST: "that is a file: give another folder",
    errno.ENOENT: "no folder can be made there: give another one",
    errno.ENAMETOOLONG: "the name is too long: give a shorter one",
    errno.EPERM: REMEDIES[errno.EACCES],
}


def check_output(sweep: Sweep) -> None:
    """Makes the sweep's folder.

    Raises: LaunchError saying why it cannot be made or written to: it is a file, of somebody else, on a full disk.
    """
    try:
        sweep.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=sweep.folder) as file:
            file.write(b"0" * 4096)
            file.flush()
    except OSError as error:
        raise LaunchError(f"output={sweep.folder.parent}: {why_not_writable(error)}") from error


def why_not_writable(error: OSError) -> str:
    """One sentence: what the system said, of which file, and what to do."""
    remedies = REMEDIES | OF_FOLDERS
    return f"{error}; {remedies[error.errno]}" if error.errno in remedies else str(error)
