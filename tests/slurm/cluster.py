"""A throw-away Slurm on this machine: munge, MariaDB, slurmdbd, slurmctld and several slurmd with fake GPUs.

No systemd, loopback only, ports and files of its own: everything lies below one directory, except for one marked line
in /etc/hosts (where that can be written) that gives the nodes names. `python -m tests.slurm` starts one by hand.
"""

import getpass
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from . import configuration
from .configuration import Features, Hardware, Ports
from .host_names import add_names, can_name_hosts, remove_names
from .processes import processes_of

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "slurmdbd", "mariadbd", "mariadb-install-db")

# Slurm 22.05 may show a node as MIXED long after its last job ended, so being idle is asked of the queue.
UP = ("IDLE", "MIXED", "ALLOCATED")


class ClusterError(RuntimeError):
    """The cluster does not do what it should; the message ends with what its logs say."""


def missing_programs() -> list[str]:
    """What has to be installed before a cluster can start; Debian's package names are in the Makefile."""
    return [program for program in PROGRAMS if shutil.which(program, path=_search_path()) is None]


class Cluster:
    """One cluster below `base`. Every method waits until what it says has happened, or raises `ClusterError`."""

    def __init__(self, base: Path, hardware: Hardware | None = None, features: Features | None = None) -> None:
        self.base = base.resolve()
        self.hardware = hardware or Hardware()
        self.features = features or Features()
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to talk to this cluster and to no other."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
        return inherited | {"SLURM_CONF": f"{self.base}/slurm.conf", "PATH": _search_path()}

    # Start and stop

    def start(self) -> None:
        ports = _free_ports(len(self.hardware.nodes))
        self._write_files(ports)
        if can_name_hosts():  # without, jobs on several nodes do not find each other
            add_names(self.hardware.nodes, self.base)
        self._start_munge()
        if self.features.accounting:
            self._start_accounting(ports)
        self.start_controller()
        for node in self.hardware.nodes:
            self._start_daemon(f"slurmd-{node}", "slurmd", "-D", "-N", node)
        self.wait_for("all nodes", self._all_up, seconds=60)

    def stop(self) -> None:
        """End everything at once, also where another process started it, and remove the directory."""
        while running := list(processes_of(self.base)):
            for process in running:
                process.send(signal.SIGKILL)
            for process in running:
                process.wait(seconds=10)
        for daemon in self.daemons.values():
            daemon.wait()
        self.daemons.clear()
        remove_names(self.base)
        self._remove_cgroups()
        shutil.rmtree(self.base, ignore_errors=True)

    def clear(self) -> None:
        """As after the start: no job, all daemons, all nodes up."""
        if "slurmctld" not in self.daemons:
            self.start_controller()
        user = f"--user={getpass.getuser()}"
        self.run("scancel", user)
        self.run("scancel", user, "--full", "--signal=KILL")
        for node in self.hardware.nodes:
            if f"slurmd-{node}" not in self.daemons:
                self.start_node(node)
            if self.node_state(node).startswith("DRAIN"):
                self.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
        self.wait_for("all jobs to end", lambda: not self.run("squeue", "--noheader"), seconds=60)
        self.wait_for("all nodes", self._all_up, seconds=60)

    # What can go wrong in a cluster

    def start_controller(self) -> None:
        self._start_daemon("slurmctld", "slurmctld", "-D")
        self.wait_for("the controller", self.controller_answers, seconds=30)

    def stop_controller(self) -> None:
        self._end_daemon("slurmctld", signal.SIGTERM)

    def kill_node(self, node: str) -> None:
        """As if the machine lost power: slurmd, its step daemons and all processes of its jobs are gone at once."""
        victims = [process for process in processes_of(self.base) if process.node == node]
        self._end_daemon(f"slurmd-{node}", signal.SIGKILL)
        for process in victims:
            process.send(signal.SIGKILL)
            process.wait(seconds=5)

    def stop_node(self, node: str) -> None:
        """The node's slurmd ends; what runs there goes on until Slurm gives the node up."""
        self._end_daemon(f"slurmd-{node}", signal.SIGTERM)

    def start_node(self, node: str) -> None:
        self._start_daemon(f"slurmd-{node}", "slurmd", "-D", "-N", node)
        self.wait_for(f"node {node}", lambda: self.node_state(node) in UP, seconds=60)

    def node_state(self, node: str) -> str:
        """E.g. IDLE, MIXED, ALLOCATED, DOWN; a `*` behind it says that the node does not answer."""
        return self.run("sinfo", "--noheader", "--partition=main", f"--nodes={node}", "--format=%T").strip().upper()

    # Talking to it

    def run(self, *command: str, seconds: float = 30.0) -> str:
        """What one of Slurm's commands prints.

        Raises:
            ClusterError: it failed, or did not answer in time, as Slurm's commands do when a daemon is gone.
        """
        try:
            finished = subprocess.run(
                command, env=self.environment, capture_output=True, text=True, timeout=seconds, check=True
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise ClusterError(f"{' '.join(command)}: {error}\n{error.stderr or ''}") from error
        return finished.stdout

    def controller_answers(self) -> bool:
        try:
            return "is UP" in self.run("scontrol", "ping", seconds=5)
        except ClusterError:
            return False

    def wait_for(self, what: str, condition: Callable[[], bool], seconds: float) -> None:
        """Ask again and again.

        Raises:
            ClusterError: `condition` is still false after `seconds`, or a daemon has ended by itself.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            ended = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            if ended:
                raise ClusterError(f"{', '.join(ended)} ended while waiting for {what}\n{self._logs()}")
            if time.monotonic() > deadline:
                raise ClusterError(f"waited {seconds:g} s for {what}\n{self._logs()}")
            time.sleep(0.1)

    # The parts of starting

    def _write_files(self, ports: Ports) -> None:
        for folder in ("log", "run", "state", "spool", "munge", "database", "devices"):
            (self.base / folder).mkdir(parents=True)
        for node in self.hardware.nodes:
            (self.base / "spool" / node).mkdir()
        for folder in ("munge", "database"):
            (self.base / folder).chmod(0o700)
        key = self.base / "munge" / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        try:
            self._make_devices()
        except PermissionError:  # not root, or a container that may not
            self.hardware = replace(self.hardware, gpus=0)
        texts = {
            "slurm.conf": configuration.slurm_conf(self.base, ports, self.hardware, self.features),
            "gres.conf": configuration.gres_conf(self.base, self.hardware),
            "cgroup.conf": configuration.cgroup_conf(self.features),
            "slurmdbd.conf": configuration.slurmdbd_conf(self.base, ports),
            "database-init.sql": configuration.DATABASE_INIT,
        }
        for name, text in texts.items():
            (self.base / name).write_text(text)
        (self.base / "slurmdbd.conf").chmod(0o600)  # it holds a password, and slurmdbd insists

    def _make_devices(self) -> None:
        """Slurm wants a GPU to be a character device; like /dev/null is enough."""
        for number in range(self.hardware.gpus):
            os.mknod(self.base / "devices" / f"gpu{number}", stat.S_IFCHR | 0o666, os.makedev(1, 3))

    def _start_munge(self) -> None:
        munge = self.base / "munge"
        self._start_daemon(
            "munged",
            *("munged", "--foreground", "--force"),
            *(f"--key-file={munge}/munge.key", f"--seed-file={munge}/munged.seed"),
            *(f"--socket={self.base}/run/munge.socket", f"--pid-file={self.base}/run/munged.pid"),
            f"--log-file={self.base}/log/munged.log",
        )
        self.wait_for("munged", (self.base / "run" / "munge.socket").is_socket, seconds=10)

    def _start_accounting(self, ports: Ports) -> None:
        own = (f"--user={getpass.getuser()}", f"--datadir={self.base}/database", f"--tmpdir={self.base}/run")
        self.run(
            *("mariadb-install-db", "--no-defaults", *own),
            *("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"),
            seconds=120,
        )
        self._start_daemon(
            "mariadbd",
            *("mariadbd", "--no-defaults", *own),
            *("--bind-address=127.0.0.1", f"--port={ports.database}", f"--socket={self.base}/run/mariadbd.socket"),
            *(f"--pid-file={self.base}/run/mariadbd.pid", f"--init-file={self.base}/database-init.sql"),
            # Small and fast: nothing in it outlives the tests. slurmdbd asks for the last two to be at least this.
            *("--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=32M"),
            *("--innodb-buffer-pool-size=128M", "--innodb-lock-wait-timeout=900"),
        )
        self.wait_for("mariadbd", lambda: _listens(ports.database), seconds=60)
        self._start_daemon("slurmdbd", "slurmdbd", "-D")
        self.wait_for("slurmdbd", lambda: _listens(ports.accounting), seconds=60)
        self.wait_for("accounting", self._accounting_answers, seconds=30)
        self.run("sacctmgr", "--immediate", "add", "cluster", "trial")

    def _accounting_answers(self) -> bool:
        try:
            self.run("sacctmgr", "--noheader", "show", "cluster", seconds=5)
        except ClusterError:
            return False
        return True

    def _all_up(self) -> bool:
        return all(self.node_state(node) in UP for node in self.hardware.nodes)

    def _start_daemon(self, name: str, *command: str) -> None:
        with open(self.base / "log" / f"{name}.out", "ab") as log:
            self.daemons[name] = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the terminal is not for it
            )

    def _end_daemon(self, name: str, number: signal.Signals) -> None:
        daemon = self.daemons.pop(name)
        daemon.send_signal(number)
        try:
            daemon.wait(timeout=20)
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{name} does not end\n{self._logs()}") from error

    def _logs(self) -> str:
        """The last lines of every log, for an error message."""
        tails = []
        for path in sorted((self.base / "log").iterdir()):
            lines = path.read_text(errors="replace").splitlines()[-8:]
            tails += [f"== {path.name}", *lines] if lines else []
        return "\n".join(tails)

    def _remove_cgroups(self) -> None:
        """slurmd leaves empty ones behind."""
        for node in self.hardware.nodes:
            for controller in ("freezer", "memory", "cpuacct", "cpuset", "devices"):
                group = Path("/sys/fs/cgroup", controller, f"slurm_{node}")
                for folder in sorted(group.rglob("*/"), reverse=True) if group.exists() else ():
                    folder.rmdir()
                if group.exists():
                    group.rmdir()


def _search_path() -> str:
    """Daemons are in sbin, which a user's PATH often lacks."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))


def _free_ports(nodes: int) -> Ports:
    """Below the range from which Linux takes ports for outgoing connections, so that none is taken in between."""
    free = []
    for port in random.sample(range(20000, 32000), 1000):
        if not _listens(port):
            free.append(port)
        if len(free) == 3 + nodes:
            return Ports(free[0], free[1], free[2], tuple(free[3:]))
    raise ClusterError("no free ports")


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
