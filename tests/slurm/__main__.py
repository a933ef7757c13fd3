"""A cluster to play with: `eval "$(python -m tests.slurm start)"`, and `python -m tests.slurm stop` to be rid of it."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from .cluster import Cluster, missing_programs
from .configuration import Features


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.slurm", description=__doc__)
    parser.add_argument("command", choices=("start", "stop"))
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / f"slurm-by-hand-{os.geteuid()}")
    parser.add_argument("--without-accounting", action="store_true", help="no sacct; starts in a second")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="a line of slurm.conf")
    options = parser.parse_args()
    features = Features(
        accounting=not options.without_accounting, options=dict(option.split("=", 1) for option in options.option)
    )
    cluster = Cluster(options.directory, features=features)
    if options.command == "stop":
        cluster.stop()
        return 0
    if missing := missing_programs():
        sys.exit(f"{', '.join(missing)}: not installed; `make slurm` installs them")
    cluster.start()
    print(f"export SLURM_CONF={cluster.base}/slurm.conf")
    return 0


if __name__ == "__main__":
    sys.exit(main())
