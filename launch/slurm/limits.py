"""What the cluster allows: the size of an array, and how many jobs one may have submitted."""

import getpass
import re
from dataclasses import dataclass

from .commands import SlurmError, call


@dataclass(frozen=True)
class Limits:
    """`array` is the number of jobs in one array; `submit` that of all jobs one may have, None where nothing limits it.

    `queued` is how many one has now.
    """

    array: int
    submit: int | None = None
    queued: int = 0

    def room(self, jobs: int, within_job: bool = False) -> int:
        """How many of `jobs` to submit now.

        Where there is not room for all, one place stays free: a job that ends is itself still in the queue when it
        submits the next (`within_job`).
        """
        free = jobs if self.submit is None else max(0, self.submit - self.queued)
        if free >= jobs or within_job:
            return min(free, jobs)
        return max(free - 1, min(free, 1))


def limits(account: str | None, qos: str | None) -> Limits:
    """Ask the controller and, where there is accounting, the associations and qualities of service that apply.

    Raises:
        SlurmError: the controller does not answer.
    """
    configuration = call("scontrol", "show", "config")
    array = parse_array_limit(configuration)
    cluster = re.search(r"^ClusterName\s*=\s*(\S+)", configuration, re.MULTILINE)
    try:
        submit = _submit_limit(account, qos, cluster[1] if cluster else None)
    except SlurmError:  # no accounting: then nothing enforces such a limit either
        submit = None
    if submit is None:
        return Limits(array)
    queued = len(call("squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%i").splitlines())
    return Limits(array, submit, queued)


def parse_array_limit(text: str) -> int:
    """MaxArraySize (one more than the greatest index) and max_array_tasks, whichever is less."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", text, re.MULTILINE)
    if found is None:
        raise SlurmError("scontrol show config has no MaxArraySize")
    if int(found[1]) == 0:
        raise SlurmError("this cluster allows no job arrays (MaxArraySize=0)")
    tasks = re.search(r"max_array_tasks=(\d+)", text)
    return min(int(found[1]), int(tasks[1])) if tasks else int(found[1])


def _submit_limit(account: str | None, qos: str | None, cluster: str | None) -> int | None:
    whose = [f"user={getpass.getuser()}", *([f"cluster={cluster}"] if cluster else [])]
    columns = "Account,MaxSubmitJobs,GrpSubmitJobs,QOS,DefaultQOS"
    associations = call("sacctmgr", "--noheader", "--parsable2", "show", "assoc", *whose, f"format={columns}")
    qualities = call("sacctmgr", "--noheader", "--parsable2", "show", "qos", "format=Name,MaxSubmitPU,GrpSubmit")
    return parse_submit_limit(associations, qualities, account, qos)


def parse_submit_limit(associations: str, qualities: str, account: str | None, qos: str | None) -> int | None:
    """The least of the limits of the account (any of the user's, if it is not named) and of the quality of service."""
    found: list[int] = []
    qualities_used = {qos} if qos else set()
    for line in associations.splitlines():
        name, own, group, _, default_qos = line.split("|")
        if account is None or name == account:
            found += [int(value) for value in (own, group) if value.isdigit()]
            qualities_used |= {default_qos} - {""} if qos is None else set()
    for line in qualities.splitlines():
        name, own, group = line.split("|")
        if name in (qualities_used or {"normal"}):
            found += [int(value) for value in (own, group) if value.isdigit()]
    return min(found, default=None)
