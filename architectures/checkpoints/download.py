"""A file from the network, whole or not at all."""

import logging
import sys
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

# Of silence, after which the server counts as gone.
TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 20

log = logging.getLogger(__name__)


class DownloadError(OSError):
    """The network, or the server, did not give the whole file."""


def download(address: str, path: Path, show_progress: bool = True) -> None:
    """Writes the file at `address` to `path`, with a progress bar on standard error where that is a terminal.

    After an error, `path` may hold a part of the file, so it should be a temporary place.

    Raises:
        DownloadError: no connection, no such file, or fewer bytes than the server announced; names the address.
        OSError: `path` cannot be written.
    """
    log.info("downloading %s", address)
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    hidden = not (show_progress and console.is_terminal)
    with (
        Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=hidden) as bar,
        path.open("wb") as file,
    ):
        for chunk in _chunks(address, bar):
            file.write(chunk)


def _chunks(address: str, bar: Progress) -> Iterator[bytes]:
    task = bar.add_task(address.rpartition("/")[2], total=None)
    received = 0
    try:
        with urlopen(address, timeout=TIMEOUT_SECONDS) as response:
            announced = response.headers["Content-Length"]
            bar.update(task, total=int(announced) if announced else None)
            while chunk := response.read(CHUNK_BYTES):
                received += len(chunk)
                bar.advance(task, len(chunk))
                yield chunk
    except (OSError, HTTPException) as error:
        raise DownloadError(f"{address} cannot be downloaded ({_reason(error)})") from error
    if announced and received != int(announced):
        raise DownloadError(f"{address}: the connection ended after {received} of {announced} bytes")


def _reason(error: Exception) -> str:
    """What happened, without the class names that urllib puts around it."""
    if isinstance(error, HTTPError):
        error.close()
    elif isinstance(error, URLError):
        return str(error.reason)
    return str(error)
