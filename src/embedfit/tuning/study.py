"""The search of a folder, kept by Optuna in a log that survives a kill."""

from __future__ import annotations

__all__ = ["done", "importance", "is_default", "study_of", "whole"]

from pathlib import Path
from typing import TYPE_CHECKING

from embedfit.data.identity import fingerprint
from embedfit.errors import RunError
from embedfit.judging import Rows
from embedfit.recipe import Recipe
from embedfit.tuning.space import OBJECTIVES, kind_of

if TYPE_CHECKING:
    import optuna

STARTUP = 5  # trials before any is cut short
LOOKS = 2  # evaluations before one may be


def study_of(rows: Rows, recipe: Recipe, folder: Path, share: float) -> optuna.Study:
    """The search of a folder, begun or gone on with."""
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise RunError("`tune` needs the package optuna", hint="pip install 'embedfit[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    assert rows.dev is not None
    identity = {
        "train": fingerprint(rows.train), "dev": fingerprint(rows.dev), "share": share,
        "recipe": recipe.model_dump(mode="json", exclude={"run", "data"}),
    }  # fmt: skip
    study = optuna.create_study(
        study_name="embedfit",
        storage=JournalStorage(JournalFileBackend(str(folder / "trials.log"))),
        sampler=optuna.samplers.TPESampler(seed=recipe.optim.seed, n_startup_trials=2 * STARTUP),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=LOOKS),
        direction="maximize",
        load_if_exists=True,
    )
    if study.user_attrs and study.user_attrs["identity"] != identity:
        raise RunError(f"'{folder}' holds a search on other rows or settings", hint="choose another folder with --out")
    if not study.user_attrs:
        study.set_user_attr("identity", identity)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):  # killed in the middle
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    # a sampler that begins again draws the same numbers again
    study.sampler = optuna.samplers.TPESampler(seed=recipe.optim.seed + len(study.trials), n_startup_trials=2 * STARTUP)
    waiting = study.get_trials(states=(optuna.trial.TrialState.WAITING,))
    if not any(is_default(t) for t in [*waiting, *done(study)]):
        first = next(iter(OBJECTIVES[kind_of(rows)]))
        study.enqueue_trial(
            {"objective": first, "schedule": "cosine", "batch": 1.0, "rate": 1.0, "negatives": "in_batch"},
            user_attrs={"default": True},
        )
    return study


def is_default(trial: optuna.trial.FrozenTrial | optuna.Trial) -> bool:
    """Whether a trial is the default, which need not be the first: that may have been interrupted."""
    return "default" in trial.user_attrs


def done(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that have ended, however; one that was interrupted has said nothing, and is none."""
    return [t for t in study.trials if t.state.is_finished() and "said" in t.user_attrs]


def whole(study: optuna.Study) -> list[tuple[float, optuna.trial.FrozenTrial]]:
    """Trials that ran to their end, with their metrics; one that was cut short has only what it had by then."""
    return [(t.value, t) for t in done(study) if t.state.name == "COMPLETE" and t.value is not None]


def importance(study: optuna.Study) -> dict[str, float]:
    """Share of the variance of the metric by choice (Hutter et al. 2014, fANOVA); empty below 8 whole trials."""
    import optuna

    ran = whole(study)
    if len(ran) < 8 or len({value for value, _ in ran}) < 2:
        return {}
    judge = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=judge))
