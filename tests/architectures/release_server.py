"""A release on this machine: a server whose files and faults a test chooses, in place of the authors' one."""

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from architectures.checkpoints.releases import RELEASES

Respond = Callable[[http.server.BaseHTTPRequestHandler], None]


class Server:
    """`respond` answers each request; `requests` are the paths that were asked for."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests: list[str] = []
        self.respond: Respond = status(404)


@contextmanager
def release_server() -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append(self.path)
            server.respond(self)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        server = Server(f"http://127.0.0.1:{listener.server_port}")
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()


def announce(monkeypatch: pytest.MonkeyPatch, network: str, address: str, **changes: str) -> None:
    """Lets `network` be released at `address`, without any proxy in between."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    release = replace(RELEASES[network], address=address, fetched_by="program", sha256="")
    monkeypatch.setitem(RELEASES, network, replace(release, **changes))


def status(code: int) -> Respond:
    return lambda request: request.send_error(code)


def content(body: bytes, announced: int | None = None) -> Respond:
    """`body`, of which the server says that it has `announced` bytes."""

    def respond(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(body) if announced is None else announced))
        request.end_headers()
        request.wfile.write(body)

    return respond


def file(path: Path, bytes_sent: int | None = None) -> Respond:
    """A whole file, or its beginning under the size of the whole."""
    body = path.read_bytes()
    return content(body[:bytes_sent], announced=len(body))
