"""A search on a part of the data, carried to the whole: objective, negatives, schedule, batch size, learning rate."""

from __future__ import annotations

__all__ = ["Trial", "Tuned", "tune"]

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from scipy.stats import spearmanr

from embedfit import run as runs
from embedfit.data import split
from embedfit.engine.checks import check_stream
from embedfit.engine.fit import fit, prepare
from embedfit.errors import EmbedfitError, RecipeError, RunError
from embedfit.evaluate import main_metric
from embedfit.evaluate.tasks import without_label_texts
from embedfit.judging import Rows, keys_of, lighter, readings
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, patch, to_toml
from embedfit.team import ALONE
from embedfit.towers import TwoTower
from embedfit.tuning.space import Around, around, choose, settings_of
from embedfit.tuning.study import done, importance, is_default, study_of, whole

if TYPE_CHECKING:
    import optuna

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One recipe that was tried.

    Attributes:
        number: in the order of the search; those that were interrupted are left out.
        default: whether it is the default.
        choices: what was chosen, by name.
        settings: the same as settings of the recipe.
        small: best held-out metric on the part; None where it could not be trained.
        state: "whole", "cut short" or why it failed, on the part or on all rows.
        full: best held-out metric on all rows; None where it was not carried there.
        seconds: of the small run.
    """

    number: int
    default: bool
    choices: Mapping[str, Any]
    settings: Settings
    small: float | None
    state: str
    full: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What a search found.

    Attributes:
        metric: what was compared.
        share: of the training rows that the search saw; of a sample of them, where they are read in parts.
        rows: how many rows that is, and how many there are.
        trials: best first: by the metric on all rows, then by that on the part; last those that failed.
        rank_correlation: Spearman's, of the metric on the part with that on all rows; None below 3 carried.
        importance: share of the variance of the small metric by choice; empty below 8 whole trials.
    """

    metric: str
    share: float
    rows: tuple[int, int]
    trials: tuple[Trial, ...]
    rank_correlation: float | None
    importance: Mapping[str, float]

    @property
    def best(self) -> Trial:
        """The first."""
        return self.trials[0]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def tune(
    rows: Rows,
    recipe: Recipe,
    folder: Path,
    *,
    trials: int = 30,
    share: float = 0.2,
    carried: int = 5,
    say: Callable[[str], None] = lambda text: None,
) -> Tuned:
    """Search on a part of the training rows, train the best again on all of them, and say how well the one foretold
    the other. Called again with the same rows and folder, it goes on where it stopped.

    Args:
        rows: training and held-out rows.
        recipe: what is not searched for stays as it says.
        folder: of the search; best.toml is the recipe to train with.
        trials: how many recipes are tried, those of before included.
        share: of the training rows for the search; with 1 it has seen them all, and nothing is left to be carried.
        carried: how many of them are trained on all rows: the best of different objectives, the default, some between.
        say: told a line per trial.

    Raises:
        RunError: optuna is not installed, nothing is held out, or the folder holds another search.
    """
    if rows.dev is None:
        raise RunError("there are no held-out rows to compare by", hint="hold some out with --dev")
    rows = replace(rows, train=without_label_texts(rows.train), dev=without_label_texts(rows.dev))
    small = replace(rows, train=split(rows.train, dev=share, seed=recipe.optim.seed)[1]) if share < 1 else rows
    streamed = rows.shards is not None
    if streamed:
        check_stream(recipe)
        small = replace(small, shards=None)
        say(f"{_count(rows):,} rows are read in parts: the search sees {len(small.train):,} of a sample of them, and")
        say("compares queries with documents of the batch alone, which is what training in parts can do")
    study = study_of(rows, recipe, folder, share)
    base = around(small, recipe, streamed=streamed)
    while len(done(study)) < trials:
        _try(study, small, recipe, base, rows.train, say)
    if not whole(study):
        raise RecipeError("no trial could be trained", hint="train with the recipe alone to see why")
    values = _carry(study, rows, recipe, base, folder, carried, say) if small is not rows else {}
    made = _summary(study, rows, small, base, values, share)
    runs.write_json(folder / "tune.json", made.to_dict())
    (folder / "best.toml").write_text(to_toml(patch(recipe, made.best.settings), comments=True), "utf-8")
    return made


def _count(rows: Rows) -> int:
    """Training rows; of those that are read in parts, all."""
    return len(rows.train if rows.shards is None else rows.shards)


def _try(
    study: optuna.Study, rows: Rows, recipe: Recipe, base: Around, everything: Pairs, say: Callable[[str], None]
) -> None:
    import optuna

    trial, began = study.ask(), time.perf_counter()
    choices = choose(trial, base)

    def report(look: int, value: float) -> None:
        trial.report(value, look)
        if trial.should_prune() and not is_default(trial):  # the others are compared with it
            raise optuna.TrialPruned

    state, value, said = optuna.trial.TrialState.COMPLETE, None, "whole"
    try:
        value = measured(rows, patch(recipe, settings_of(choices, base)), everything, report)
    except optuna.TrialPruned:
        state, said = optuna.trial.TrialState.PRUNED, "cut short"
    except EmbedfitError as error:  # some choices do not go together, some rates are too high: the search goes on
        state, said = optuna.trial.TrialState.FAIL, error.message
    trial.set_user_attr("seconds", round(time.perf_counter() - began, 2))
    trial.set_user_attr("said", said)
    study.tell(trial, value, state=state)
    words = ", ".join(
        f"{v:.2g}x rate" if k == "rate" else f"{v:g}x batch" if k == "batch" else str(v) for k, v in choices.items()
    )
    say(f"trial {trial.number}: {words}: " + (f"{value:.4f}" if value is not None else said))


def measured(rows: Rows, recipe: Recipe, everything: Pairs, report: Callable[[int, float], None]) -> float:
    """The best held-out metric of a run.

    Documents are found as the finished model would find them, which is not how a run looks at itself: quick looks are
    different ones for different objectives and sizes, and these figures are compared across both.

    Args:
        rows: training and held-out rows; trained on in parts, if that is how they are read.
        recipe: the settings.
        everything: all training rows, of which those of `rows` may be a part: they say how documents are found.
        report: told (number of the evaluation, metric); may stop the run with an exception of its own.

    Raises:
        EmbedfitError: the run cannot be made, or its loss is not finite.
    """
    assert rows.dev is not None
    setup = prepare(rows.train, recipe, shards=rows.shards)
    light = lighter(rows.dev, seed=recipe.optim.seed)
    keys = keys_of(setup.objective.model, everything)
    seen: list[float] = []

    def held_out(model: TwoTower) -> Mapping[str, float]:
        values = readings(model, light, rows.train, keys, ALONE)
        seen.append(next(iter(values.values())))
        report(len(seen) - 1, max(seen))
        return values

    with TemporaryDirectory() as folder:
        fit(setup, folder=Path(folder), measure=held_out, progress=lambda step, steps, readings: None, held_out="dev")
    return max(seen)


def _carry(
    study: optuna.Study, rows: Rows, recipe: Recipe, base: Around, folder: Path, count: int, say: Callable[[str], None]
) -> dict[int, float | str]:
    """Metrics on all rows, or why there is none, by trial; those of before are kept."""
    path = folder / "carried.json"
    values = {int(k): v for k, v in json.loads(path.read_text("utf-8")).items()} if path.is_file() else {}
    for number in _carried(study, count):
        if number in values:
            continue
        settings = settings_of(study.trials[number].params, base)
        try:
            value = measured(rows, patch(recipe, settings), rows.train, lambda look, value: None)
            values[number], said = value, f"{value:.4f}"
        except EmbedfitError as error:  # the part did not foretell it; the others may still be trained
            values[number] = said = error.message
        say(f"trial {number} on all {_count(rows):,} rows: {said}")
        runs.write_json(path, {str(k): v for k, v in values.items()})
    return values


def _carried(study: optuna.Study, count: int) -> list[int]:
    """Half of them the best, then the default, then evenly down to the worst: a rank correlation needs a range.

    The best are those of different objectives, as far as there are: neighbours of one recipe gain or lose together.
    """
    ran = [t for _, t in sorted(whole(study), key=lambda pair: (-pair[0], pair[1].number))]
    half = math.ceil(count / 2)
    firsts = {t.params["objective"]: t for t in reversed(ran)}.values()
    numbers = {t.number for t in firsts}
    order = [t for t in ran if t.number in numbers] + [t for t in ran if t.number not in numbers]
    best = order[:half]
    chosen = {t.number for t in best}
    rest = [t for t in ran if t.number not in chosen]
    default = [t for t in rest if is_default(t)][: count - half]
    rest = [t for t in rest if not is_default(t)]
    left = min(len(rest), count - len(best) - len(default))
    spread = [rest[(i + 1) * len(rest) // left - 1] for i in range(left)]
    return [t.number for t in (*best, *default, *spread)]


def _summary(
    study: optuna.Study, rows: Rows, small: Rows, base: Around, values: Mapping[int, float | str], share: float
) -> Tuned:
    small_values = {t.number: value for value, t in whole(study)}
    full = {number: value for number, value in values.items() if not isinstance(value, str)}
    failed = {number: f"on all rows: {value}" for number, value in values.items() if isinstance(value, str)}
    made = [
        Trial(
            number=t.number,
            default=is_default(t),
            choices=t.params,
            settings=settings_of(t.params, base),
            small=small_values.get(t.number),
            state=failed.get(t.number, t.user_attrs["said"]),
            full=full.get(t.number),
            seconds=t.user_attrs["seconds"],
        )
        for t in done(study)
    ]
    both = [(t.small, t.full) for t in made if t.full is not None]
    correlation = float(spearmanr(*zip(*both, strict=True)).statistic) if len(both) >= 3 else math.nan
    return Tuned(
        metric=main_metric(rows.train.kind),
        share=share,
        rows=(len(small.train), _count(rows)),
        trials=tuple(
            sorted(made, key=lambda t: (t.full is None, t.number in failed, -(t.full or 0.0), -(t.small or -1.0)))
        ),
        rank_correlation=None if math.isnan(correlation) else correlation,
        importance=importance(study),
    )
