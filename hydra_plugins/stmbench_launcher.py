"""The launcher that Hydra finds under the name `stmbench`; it only hands a multirun's cells over to `launch`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from conf import ConfigurationError, SweepComposer, refusal, to_cell
from launch import Cell, LaunchError, Outcome, dispatch
from launch.output import check_output
from launch.submission import Sweep
from launch.sweep_name import check_sweep_name

# What they sweep over is known before anything has run.
SWEEPERS_WITHOUT_RESULTS = (
    "hydra_plugins.stmbench_sweeper.StmbenchSweeper",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
)


class CellsFailedError(LaunchError):
    """Some cells of the sweep failed; their records say why."""


class StmbenchLauncher(Launcher):
    """Compose and check every cell before the first one starts, then run them where `platform` says."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.config = config
        # Hydra leaves `multirun.yaml` in the sweep's folder before any cell is composed.
        try:
            check_sweep_name(config.sweep)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        check_output(Sweep(Path(config.output) / config.sweep))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        composer = SweepComposer(self.hydra_context.config_loader, self.config)
        cells = []
        for overrides in job_overrides:
            try:
                cells.append(to_cell(composer.compose(overrides)))
            except Exception as error:
                sentence = refusal(error)
                if sentence is None:
                    raise
                raise ConfigurationError(f"cell {' '.join(overrides)}: {sentence}") from error
        if any(cell.is_dry_run for cell in cells):
            from launch.plan import print_plans

            print_plans([cell for cell in cells if cell.is_dry_run])
            return [JobReturn(overrides=overrides, status=JobStatus.COMPLETED) for overrides in job_overrides]
        # A sweeper that chooses the next cells by the results of these cannot go on without them.
        wait = self.config.hydra.sweeper._target_ not in SWEEPERS_WITHOUT_RESULTS
        found = dispatch(cells, rerun=self.config.rerun, wait=wait)
        if found is None:
            return [_submitted(overrides, cell) for overrides, cell in zip(job_overrides, cells, strict=True)]
        outcomes = {outcome.cell.directory: outcome for outcome in found}
        return [
            _submitted(overrides, cell)
            if outcomes[cell.directory].is_elsewhere and not wait
            else _job_return(overrides, outcomes[cell.directory])
            for overrides, cell in zip(job_overrides, cells, strict=True)
        ]


def _submitted(overrides: Sequence[str], cell: Cell) -> JobReturn:
    """A cell that goes on without this command; Hydra knows no other word for it than completed."""
    result = JobReturn(overrides=overrides, working_dir=str(cell.directory), task_name=cell.name)
    result.status = JobStatus.COMPLETED
    return result


def _job_return(overrides: Sequence[str], outcome: Outcome) -> JobReturn:
    """Hydra's view of a cell. A sweeper (Optuna's, for example) sees the headline number, or the failure."""
    result = JobReturn(overrides=overrides, working_dir=str(outcome.cell.directory), task_name=outcome.cell.name)
    if outcome.status == "completed":
        result.status = JobStatus.COMPLETED
        result.return_value = outcome.record["results"].get("top1_percent")
    else:
        result.status = JobStatus.FAILED
        result.return_value = CellsFailedError(f"{outcome.cell.name}: {outcome.record['reason']}")
    return result


@dataclass
class StmbenchLauncherConfig:
    _target_: str = "hydra_plugins.stmbench_launcher.StmbenchLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="stmbench", node=StmbenchLauncherConfig, provider="stmbench")
