"""A program that has imported what commands import, and forks for each: a command then starts at once.

`python -m tests.command_server` reads a line of JSON for each command (`arguments`, `program`, `folder`, `environment`,
`output`, `errors`) and answers with two, `{"process": …}` when it has begun and `{"status": …}` when it has ended. The
child ends as any interpreter does, after its module has run as `__main__`. What no command has done yet nobody shares:
nothing is configured, computed or written here. Started by `tests.commands`.
"""

import importlib
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
IMPORTED_BY_COMMANDS = (
    *("hydra.main", "architectures", "conf", "launch.perform", "launch.execute", "launch.dispatch", "training.train"),
    *("tasks.from_config.trained", "tasks.from_config.candidates", "analysis.report", "analysis.table"),
)


def main() -> None:
    sys.path.insert(0, str(ROOT))
    for name in IMPORTED_BY_COMMANDS:
        importlib.import_module(name)
    for line in sys.stdin:
        command = json.loads(line)
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            break
        print(json.dumps({"process": process}), flush=True)
        _, status = os.waitpid(process, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)
    else:
        return
    become(command)


def become(command: dict[str, Any]) -> None:
    """Run the command in this process as if it had been started by it."""
    os.environ.clear()
    os.environ.update(command["environment"])
    os.chdir(command["folder"])
    for descriptor, path, mode in ((0, os.devnull, "r"), (1, command["output"], "w"), (2, command["errors"], "w")):
        file = os.open(path, os.O_RDONLY if mode == "r" else os.O_WRONLY)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (
        open(descriptor, mode, encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115 - as long as the process
        for descriptor, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    if command["program"] == "run.py":
        sys.argv = [str(ROOT / "run.py"), *command["arguments"]]
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        sys.argv = [command["program"], *command["arguments"]]
        runpy.run_module(command["program"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
