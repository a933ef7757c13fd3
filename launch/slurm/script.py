"""The sbatch script of an array, made and handed over by submitit.

Of submitit, this uses the executor: how options become `#SBATCH` lines, the array, the call of sbatch and its answer.
Not its pickled functions and its handling of signals and results, because a sweep needs what these do not do (observed
with submitit 1.5.4): a job must run the code and the configuration of its submission, but a pickle names modules, which
are imported when the job starts; its state must be FAILED when its cell failed, also for SystemExit and KILL; SIGTERM
must save a training, but is passed over; and nobody should wait 15 s for each result that never comes.
"""

import math
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError

from launch.settings import SlurmSettings

from .commands import SECONDS, SlurmError, clean_environment


class ArrayScript(SlurmExecutor):
    """`jobs` jobs that run `launch.slurm.batch` on the submission in `folder`, at most `throttle` at once."""

    def __init__(
        self,
        folder: Path,
        name: str,
        jobs: int,
        settings: SlurmSettings,
        code: str,
        working_directory: str,
        throttle: int | None = None,
        dependency: str | None = None,
    ) -> None:
        # A script can be looked at where there is no Slurm, so submitit's own check for it waits until `submit`.
        super(SlurmExecutor, self).__init__(folder)
        self.command = f"exec {shlex.quote(sys.executable)} -P -m launch.slurm.batch {shlex.quote(str(folder))}"
        self.update_parameters(
            job_name=name,
            time=math.ceil(settings.hours * 60),
            nodes=settings.nodes,
            ntasks_per_node=settings.tasks_on_each_node,
            cpus_per_task=settings.cpus_per_task,
            gpus_per_node=settings.gpus_per_node or None,
            mem=None if settings.memory_gib is None else f"{math.ceil(settings.memory_gib * 1024)}M",
            partition=settings.partition,
            account=settings.account,
            qos=settings.qos,
            constraint=settings.constraint,
            exclude=settings.exclude,
            dependency=dependency,
            signal_delay_s=settings.signal_seconds,
            setup=[*settings.setup, *_exports(code)],
            stderr_to_stdout=True,
            use_srun=False,
            wckey=None,
            additional_parameters={
                "array": f"0-{jobs - 1}" + (f"%{throttle}" if throttle and throttle < jobs else ""),
                # Slurm replaces what follows a `%`, but not in `%%`.
                "output": f"{str(folder).replace('%', '%%')}/%a.log",
                "chdir": working_directory,
                "requeue": True,
                **_options(settings.sbatch),
            },
        )

    @property
    def text(self) -> str:
        return self._make_submission_file_text(self.command, uid="")

    def submit(self) -> int:
        """The id of the array that Slurm made of it.

        Raises:
            SlurmError: sbatch says no, or does not answer; then the array may be there all the same.
        """
        try:
            return int(self._submit_command(self.command).job_id)
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise SlurmError(" ".join(str(error).split())) from error

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        # A job that submits others must not hand its own variables on to them.
        own = sorted(set(os.environ) - set(clean_environment()))
        unset = [option for name in own for option in ("-u", name)]
        return ["env", *unset, "timeout", str(SECONDS), *super()._make_submission_command(submission_file_path)]


def _exports(code: str) -> list[str]:
    """The code that jobs import is the submission's, whatever lies in their working directory."""
    return [
        f"export PYTHONPATH={shlex.quote(code)}${{PYTHONPATH:+:$PYTHONPATH}}",
        "export PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1",
    ]


def _options(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What is false is left out, as Slurm has no way to say no."""
    return {option: value for option, value in extra.items() if value is not None and value is not False}
