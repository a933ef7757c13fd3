"""Which process of how many this one is, and what they tell each other.

Ranks are started by torchrun (`RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR`, `MASTER_PORT`) or by srun
(`SLURM_PROCID`, `SLURM_STEP_NUM_TASKS`, `SLURM_LOCALID`, `SLURM_STEP_NODELIST`); torchrun's variables come first.
`SLURM_NTASKS` is not looked at: it is also set where only the batch script runs, alone. `MASTER_ADDR` and `MASTER_PORT`
may be set by hand; without them srun's ranks meet on the first node of the step, at a port made from the job's and the
step's numbers. One rank holds one GPU: the only one it can see, or the one of its local rank.
"""

import atexit
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

FIRST_PORT, PORTS = 20_000, 20_000
MEETING_TIME = timedelta(minutes=15)
"""How long a rank waits for another: longer than any of them computes, reads or writes alone."""


@dataclass(frozen=True)
class Ranks:
    """Process `rank` of `count`, the `local`-th on its machine."""

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks to people."""
        return self.rank == 0


ALONE = Ranks()


def ranks_of(environment: Mapping[str, str] = os.environ) -> Ranks:
    """This process among those that were started with it; `ALONE` where it was started by itself.

    Raises: ValueError naming a variable that is missing beside the others of its launcher.
    """
    for rank, count, local in (
        ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
    ):
        if int(environment.get(count, "1")) > 1:
            for name in (rank, local):
                if name not in environment:
                    raise ValueError(f"{count}={environment[count]} is set, {name} is not: start all ranks alike")
            return Ranks(int(environment[rank]), int(environment[count]), int(environment[local]))
    return ALONE


def meeting_point(environment: Mapping[str, str] = os.environ) -> str:
    """The address at which ranks meet, for instance `tcp://node7:23456`.

    Raises: ValueError where neither torchrun nor srun says where.
    """
    address, port = environment.get("MASTER_ADDR"), environment.get("MASTER_PORT")
    if address is None:
        nodes = environment.get("SLURM_STEP_NODELIST", "")
        if not nodes:
            raise ValueError("MASTER_ADDR is not set: start ranks with torchrun or srun")
        address = first_node(nodes)
    if port is None:
        job, step = int(environment.get("SLURM_JOB_ID", "0")), int(environment.get("SLURM_STEP_ID", "0"))
        port = str(FIRST_PORT + (job * 101 + step) % PORTS)
    return f"tcp://{address}:{port}"


def first_node(nodes: str) -> str:
    """The first host of Slurm's notation: `n0` of `n[0-3,7],m1`; `gpu08-ib` of `gpu[08-11]-ib`."""
    prefix, numbers, suffix = re.fullmatch(r"([^\[,]+)(?:\[([^\]]+)\])?([^,]*).*", nodes).groups()
    return prefix if numbers is None else prefix + re.split("[-,]", numbers)[0] + suffix


def join(ranks: Ranks) -> None:
    """Meet the other ranks, once per process. GPUs talk over NCCL, everything on the CPU over gloo."""
    import torch
    import torch.distributed as dist

    if ranks.count == 1 or dist.is_initialized():
        return
    backend = "cpu:gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(ranks.local % torch.cuda.device_count())
        backend += ",cuda:nccl"
    dist.init_process_group(
        backend, init_method=meeting_point(), rank=ranks.rank, world_size=ranks.count, timeout=MEETING_TIME
    )
    if not torch.cuda.is_available():
        # gloo's threads, if they outlive the interpreter, now and then abort a process that has done all its work.
        atexit.register(dist.destroy_process_group)


def from_first(value: Any, ranks: Ranks) -> Any:
    """What the first rank handed in, on every rank; a small value that can be pickled."""
    if ranks.count == 1:
        return value
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def from_all(value: Any, ranks: Ranks) -> list[Any]:
    """What each rank handed in, in their order, on every rank; small values that can be pickled."""
    if ranks.count == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * ranks.count
    dist.all_gather_object(values, value)
    return values
