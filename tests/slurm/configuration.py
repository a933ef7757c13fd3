"""The files that a throw-away cluster on one machine is configured with; `cluster.py` starts it.

Written for Slurm 22.05 (Debian 12); slurm.conf(5), gres.conf(5), cgroup.conf(5) and slurmdbd.conf(5) explain each key.
"""

import getpass
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PARTITIONS: Mapping[str, Mapping[str, str]] = {
    "main": {"Default": "YES", "PriorityTier": "10", "PreemptMode": "OFF"},
    # Jobs of `low` make room for jobs of `high`: they are signalled, have the grace time to end, and are requeued.
    "low": {"PriorityTier": "1", "PreemptMode": "REQUEUE", "GraceTime": "20"},
    "high": {"PriorityTier": "100", "PreemptMode": "OFF"},
}


@dataclass(frozen=True)
class Ports:
    """One TCP port of the loopback interface for each daemon."""

    controller: int
    accounting: int
    database: int
    nodes: tuple[int, ...]


@dataclass(frozen=True)
class Hardware:
    """What each node claims to have, whatever this machine really has."""

    nodes: tuple[str, ...] = ("n0", "n1", "n2", "n3")
    cpus: int = 8
    memory_mib: int = 8000
    gpus: int = 4


@dataclass(frozen=True)
class Features:
    """What differs between clusters in the wild.

    Attributes:
        accounting: a database of past jobs (`sacct`); without, Slurm forgets a job some minutes after its end.
        memory_limits: jobs beyond their memory are killed. Needs root and version 1 of the memory cgroup.
        options: lines of slurm.conf that replace or extend the others, e.g. `MaxArraySize`.
    """

    accounting: bool = True
    memory_limits: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


def slurm_conf(base: Path, ports: Ports, hardware: Hardware, features: Features) -> str:
    host, user = socket.gethostname().split(".")[0], getpass.getuser()
    process_tracking = "cgroup" if features.memory_limits else "linuxproc"
    settings = {
        "ClusterName": "trial",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmUser": user,
        "SlurmdUser": user,
        "SlurmctldPort": ports.controller,
        "SlurmdPort": ports.nodes[0],
        "AuthType": "auth/munge",
        "CryptoType": "crypto/munge",
        "AuthInfo": f"socket={base}/run/munge.socket",
        "StateSaveLocation": f"{base}/state",
        "SlurmdSpoolDir": f"{base}/spool/%n",
        "SlurmctldPidFile": f"{base}/run/slurmctld.pid",
        "SlurmdPidFile": f"{base}/run/slurmd-%n.pid",
        "SlurmctldLogFile": f"{base}/log/slurmctld.log",
        "SlurmdLogFile": f"{base}/log/slurmd-%n.log",
        "ProctrackType": f"proctrack/{process_tracking}",
        "TaskPlugin": "task/cgroup" if features.memory_limits else "task/none",
        "JobAcctGatherType": "jobacct_gather/cgroup" if features.memory_limits else "jobacct_gather/none",
        "SwitchType": "switch/none",
        "MpiDefault": "none",
        "SlurmdParameters": "config_overrides",  # a node may claim more than this machine has
        "ReturnToService": 2,  # a node that was down is used again as soon as it answers
        "JobRequeue": 1,
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
        # Without it, preemption sends SIGTERM only, never the signal that the job asked for.
        "SlurmctldParameters": "preempt_send_user_signal",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "DefMemPerCPU": 64,
        "MaxArraySize": 2001,
        "MaxJobCount": 10000,
        "MinJobAge": 300,
        # Short, so that tests need not wait: how soon jobs start, are killed, and nodes count as gone.
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "batch_sched_delay=0,sched_min_interval=0,sched_interval=5,bf_interval=2,"
        "default_queue_depth=1000",
        "KillWait": 5,
        "SlurmctldTimeout": 20,
        "SlurmdTimeout": 20,
        "InactiveLimit": 0,
        "UnkillableStepTimeout": 30,
        "GresTypes": "gpu",
        "AccountingStorageType": "accounting_storage/none",
    }
    if features.accounting:
        settings |= {
            "AccountingStorageType": "accounting_storage/slurmdbd",
            "AccountingStorageHost": "127.0.0.1",
            "AccountingStoragePort": ports.accounting,
            # sacct and sacctmgr find a munge socket of one's own only here.
            "AccountingStoragePass": f"{base}/run/munge.socket",
            "AccountingStorageTRES": "gres/gpu",
        }
    settings |= features.options
    lines = [f"{key}={value}" for key, value in settings.items()]
    resources = f"CPUs={hardware.cpus} RealMemory={hardware.memory_mib} Gres=gpu:{hardware.gpus} State=UNKNOWN"
    for node, port in zip(hardware.nodes, ports.nodes, strict=True):
        lines.append(f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} {resources}")
    for partition, properties in PARTITIONS.items():
        text = " ".join(f"{key}={value}" for key, value in properties.items())
        lines.append(f"PartitionName={partition} Nodes=ALL MaxTime=INFINITE DefaultTime=10 State=UP {text}")
    return "\n".join(lines) + "\n"


def gres_conf(base: Path, hardware: Hardware) -> str:
    """Fake GPUs: Slurm counts device files and sets CUDA_VISIBLE_DEVICES, it never opens them."""
    if not hardware.gpus:
        return ""
    devices = f"{base}/devices/gpu[0-{hardware.gpus - 1}]"
    return f"NodeName={','.join(hardware.nodes)} Name=gpu Flags=nvidia_gpu_env File={devices}\n"


def cgroup_conf(features: Features) -> str:
    limit = "yes" if features.memory_limits else "no"
    settings = {
        "CgroupPlugin": "cgroup/v1",
        "CgroupAutomount": "no",
        "ConstrainCores": "no",
        "ConstrainRAMSpace": limit,
        "ConstrainDevices": "no",
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def slurmdbd_conf(base: Path, ports: Ports) -> str:
    settings = {
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={base}/run/munge.socket",
        "DbdHost": socket.gethostname().split(".")[0],
        "DbdAddr": "127.0.0.1",
        "DbdPort": ports.accounting,
        "SlurmUser": getpass.getuser(),
        "LogFile": f"{base}/log/slurmdbd.log",
        "PidFile": f"{base}/run/slurmdbd.pid",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "127.0.0.1",
        "StoragePort": ports.database,
        "StorageUser": "slurm",
        "StoragePass": "slurm",
        "StorageLoc": "slurm_accounting",
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


DATABASE_INIT = """\
CREATE DATABASE IF NOT EXISTS slurm_accounting;
CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_accounting.* TO 'slurm'@'127.0.0.1';
"""
