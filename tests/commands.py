"""Commands as a user types them, from a folder of their own, without each waiting for its imports."""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from threading import Timer

ROOT = Path(__file__).parent.parent
SECONDS = 300


def command(*arguments: object, cwd: Path, program: str = "run.py") -> subprocess.CompletedProcess[str]:
    """`python run.py ARGUMENTS` (or `python -m PROGRAM ARGUMENTS`) in the folder `cwd`, in a process of its own.

    Raises: subprocess.TimeoutExpired after SECONDS.
    """
    server, words = _server(), [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        output.touch(), errors.touch()
        asked = {"arguments": words, "program": program, "folder": str(cwd), "environment": dict(os.environ)}
        print(json.dumps(asked | {"output": str(output), "errors": str(errors)}), file=server.stdin, flush=True)
        process = json.loads(server.stdout.readline())["process"]
        late = Timer(SECONDS, os.kill, (process, 9))
        late.start()
        status = json.loads(server.stdout.readline())["status"]
        if not late.is_alive():
            raise subprocess.TimeoutExpired([program, *words], SECONDS, output.read_text(), errors.read_text())
        late.cancel()
        return subprocess.CompletedProcess([program, *words], status, output.read_text(), errors.read_text())


def fresh_command(*arguments: object, cwd: Path, program: str = "run.py") -> subprocess.CompletedProcess[str]:
    """The same by an interpreter of its own, for what is decided when one starts."""
    start = [ROOT / "run.py"] if program == "run.py" else ["-m", program]
    words = [sys.executable, *start, *arguments]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=SECONDS)


@cache
def _server() -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "tests.command_server"]
    server = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.kill)
    return server
