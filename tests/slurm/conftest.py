"""Fixtures: one cluster with accounting for all tests of a session, others for the tests that ask for them."""

import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .cluster import Cluster, missing_programs
from .configuration import Features, Hardware
from .processes import Process
from .sweeps import TrialSweep, write_images

# A socket's path has about a hundred characters at most, so this is short, and the same in every session.
CLUSTERS = Path(tempfile.gettempdir()) / f"stmbench-slurm-{os.geteuid()}"
_NUMBERS = itertools.count(1)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slurm)


def stop_abandoned_clusters() -> None:
    """Those whose test session was killed before it could stop them."""
    for base in CLUSTERS.glob("*"):
        owner = base / "owner.json"
        if owner.exists() and not Process(**json.loads(owner.read_text())).running():
            Cluster(base).stop()


@contextmanager
def running_cluster(name: str, hardware: Hardware | None = None, features: Features | None = None) -> Iterator[Cluster]:
    """A cluster that is gone at the end of the block or, if this process is killed, at the next session's start."""
    if missing := missing_programs():
        pytest.skip(f"{', '.join(missing)} not installed; `make slurm` installs Debian's packages")
    CLUSTERS.mkdir(exist_ok=True)
    stop_abandoned_clusters()
    base = CLUSTERS / f"{os.getpid()}-{name}"
    base.mkdir()
    (base / "owner.json").write_text(json.dumps({"pid": os.getpid(), "name": "pytest"}))
    cluster = Cluster(base, hardware, features)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def cluster_of_the_session() -> Iterator[Cluster]:
    with running_cluster("main") as cluster:
        yield cluster


@pytest.fixture
def cluster(cluster_of_the_session: Cluster) -> Iterator[Cluster]:
    """Four nodes with eight CPUs and four GPUs each, three partitions, accounting; no jobs."""
    yield cluster_of_the_session
    cluster_of_the_session.clear()


@pytest.fixture
def cluster_without_accounting() -> Iterator[Cluster]:
    """The same without `sacct`."""
    with running_cluster("forgetful", features=Features(accounting=False)) as cluster:
        yield cluster


@pytest.fixture
def cluster_of_small_arrays() -> Iterator[Cluster]:
    """A job array's largest index is 4 here, and there is no accounting."""
    with running_cluster("small-arrays", features=Features(False, options={"MaxArraySize": "5"})) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("images")
    write_images(root)
    return root


@pytest.fixture
def sweep(cluster, images, tmp_path) -> TrialSweep:
    """A sweep yet to be submitted, with a name that no other test's jobs have."""
    return TrialSweep(cluster, tmp_path, images, name=f"trial{next(_NUMBERS)}")


@pytest.fixture
def memory_cgroup() -> None:
    """Whether this machine can limit a job's memory."""
    if os.geteuid() != 0 or not Path("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists():
        pytest.skip("memory limits need root and version 1 of the memory cgroup")
