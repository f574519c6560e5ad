"""Search for settings as NYUMets did (Link et al., Nat Commun 2024): learning rate, loss and size of the decoder.

Optuna's TPE proposes, a short training on one fold judges, by the Dice of held-out patches: losses of different kinds
cannot be compared. All trials see the same heads. The study lies in an SQLite file; a search that was stopped goes on
with the trial that it was at.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import torch
import typer

from inference.training.command import Preset, found_data, start_log
from inference.training.config import TrainingConfig
from inference.training.losses import LOSSES
from inference.training.members import Pools, begun, heads, pools_in, remember, resolved
from inference.training.settings import changed, read_settings, write_settings
from inference.training.settings import smoke as shrunk
from inference.training.sources import Sources, find_sources, smoke_sources
from inference.training.train import DivergedError, Run, train

if TYPE_CHECKING:
    from optuna import Study, Trial

log = logging.getLogger(__name__)

TRIALS = 100
STEPS = 500
SMOKE_STEPS = 2
FOLDS = 5
RATES: Final = (1e-5, 1e-2)
# The decoder mirrors the encoder but for its last stage, which computes on every voxel.
DECODERS: Final = (8, 16, 32, 64)
STUDY = "search.db"
BEST = "best.toml"


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """A search for settings.

    Attributes
    ----------
    config
        Settings that all trials share; their budget is a trial's.
    folder
        For study, heads and trials.
    trials
        How many are wanted in all.
    """

    config: TrainingConfig
    folder: Path
    trials: int


def trial_settings(config: TrainingConfig, *, steps: int) -> TrainingConfig:
    """Return settings for short trainings on one fold whose heads do not change."""
    folds = config.folds or FOLDS
    return replace(
        config,
        steps=steps,
        pretrain=False,
        folds=folds,
        fold=config.fold or 0,
        seeds=1,
        workers=0,
        validate_every=steps,
    )


def search(wanted: Search, sources: Sources) -> "Study":
    """Make the trials that a study lacks; return it.

    Raises
    ------
    ModuleNotFoundError
        If Optuna is not installed.
    """
    import optuna  # late: an optional extra

    config = resolved(wanted.config, wanted.folder)
    remember(config, wanted.folder)
    torch.set_num_threads(config.threads)
    storage = f"sqlite:///{(wanted.folder / STUDY).resolve()}"
    study = optuna.create_study(
        storage=storage, study_name=f"{config.steps} steps", direction="maximize", load_if_exists=True
    )
    # A sampler begins anew with each command: its seed moves on, or it would propose the same again.
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))
    _take_up_again(study)
    pools = pools_in(wanted.folder, config)
    with heads(config, sources, pools):
        study.optimize(
            lambda trial: _judge(trial, replace(wanted, config=config), pools),
            n_trials=max(0, wanted.trials - _made(study)),
            catch=(DivergedError,),
        )
    return study


def proposed(config: TrainingConfig, values: dict[str, Any]) -> TrainingConfig:
    """Return settings with the values of a trial."""
    features = (*config.features[:-1], values["decoder"])
    return replace(config, learning_rate=values["learning_rate"], loss=values["loss"], features=features)


def _judge(trial: "Trial", wanted: Search, pools: Pools) -> float:
    """Make one trial; return the Dice of held-out patches."""
    trial.suggest_float("learning_rate", *RATES, log=True)
    trial.suggest_categorical("loss", list(LOSSES))
    trial.suggest_categorical("decoder", DECODERS)
    folder = wanted.folder / "trials" / f"{trial.user_attrs.get('folder', trial.number):03d}"
    config = proposed(wanted.config, trial.params)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = Run(config=config, folder=folder, device=device)
    state = train(run, begun(run, pools))
    with torch.no_grad():
        figures = state.objective.validate(state.average)
    log.info("trial %d: Dice %.4f with %s", trial.number, figures["dice"], trial.params)
    return figures["dice"]


def _take_up_again(study: "Study") -> None:
    """Put trials that were stopped first in the queue; each goes on from its own checkpoint."""
    from optuna.trial import TrialState  # late: an optional extra

    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
        folder = trial.user_attrs.get("folder", trial.number)
        study.enqueue_trial(trial.params, user_attrs={"folder": folder, "again": trial.number})


def _made(study: "Study") -> int:
    """Return the number of trials that came to an end, those that diverged among them."""
    again = {trial.user_attrs.get("again") for trial in study.trials}
    return sum(trial.state.is_finished() and trial.number not in again for trial in study.trials)


def main(  # noqa: PLR0913 - one for each option of the command line
    out: Annotated[Path, typer.Option(help="Folder for study, heads and trials (resumed from when it exists).")],
    *,
    preset: Annotated[Preset, typer.Option(help="Named settings that the trials share.")] = Preset.default,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings, which change the preset's.")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="key=value: a single setting.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with heads/ and label_maps/.")] = None,
    trials: Annotated[int, typer.Option(help="Trials wanted in all.")] = TRIALS,
    steps: Annotated[int, typer.Option(help="Steps of a trial.")] = STEPS,
    smoke: Annotated[bool, typer.Option("--smoke", help="Tiny trials, without data.")] = False,
) -> None:
    """Search learning rate, loss and size of the decoder; write the best settings, for --config of a training."""
    start_log()
    try:
        changes = change or []
        settings = read_settings(preset, file=config, changes=changes)
        tried = changed(shrunk(settings), changes) if smoke else settings
        shared = trial_settings(tried, steps=SMOKE_STEPS if smoke else steps)
        sources = smoke_sources(shared) if smoke else find_sources(found_data(data), shared)
        study = search(Search(config=shared, folder=out, trials=trials), sources)
        write_settings(proposed(settings, study.best_params), out / BEST)
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    log.info("best Dice %.4f; wrote %s", study.best_value, out / BEST)


if __name__ == "__main__":
    typer.run(main)
