"""The search: on again where it stopped, cut short, carried to all rows; what is measured is made up here."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import optuna
import polars as pl
import pytest

import embedfit.tuning.searching as tuning
from embedfit.data.shards import Shards
from embedfit.engine.fit import Setup, prepare
from embedfit.errors import NonFiniteLossError, RecipeError, RunError
from embedfit.gathering import gather
from embedfit.judging import Rows
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, from_toml, patch
from embedfit.report.search import write
from embedfit.tuning.space import around

SMALL = patch(
    Recipe(), {"model.kind": "static", "model.dimension": 4, "optim.batch_size": 8, "optim.length": "4 steps"}
)


def table(count: int, start: int = 0) -> Pairs:
    number = range(start, start + count)
    columns = {"query": [f"how is thing {i}" for i in number], "positive": [f"thing {i} is fine" for i in number]}
    return Pairs(kind="pairs", table=pl.DataFrame(columns))


ROWS = Rows(train=table(60), dev=table(10, 60))
REAL = tuning.measured
seen: list[tuple[int, Recipe]] = []


def made_up(rows: Rows, recipe: Recipe, everything: Pairs, report: Callable[[int, float], None]) -> float:
    """Best at a rate of 0.01 and with a linear schedule, on the part as on the whole; a hinge cannot be trained."""
    seen.append((len(rows.train), recipe))
    if recipe.loss.kind == "hinge":
        raise RecipeError("no hinge today", hint="none")
    rate = float(recipe.optim.learning_rate)
    value = 0.8 - 0.1 * abs(math.log10(rate / 0.01)) + 0.05 * (recipe.optim.schedule == "linear")
    for look in range(4):
        report(look, value * (look + 1) / 4)
    return value + 0.01 * (len(rows.train) > 40)


@pytest.fixture(autouse=True)
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seen.clear()
    monkeypatch.setattr(tuning, "measured", made_up)


def test_the_best_of_the_part_is_trained_on_all_rows_and_written_as_a_recipe(tmp_path: Path) -> None:
    found = tuning.tune(ROWS, SMALL, tmp_path, trials=14, share=0.5, carried=4)
    assert found.rows[0] < found.rows[1] == 60
    whole = [t for t in found.trials if t.small is not None]
    assert found.best.small == max(t.small for t in whole)
    assert found.best.full == pytest.approx(found.best.small + 0.01)
    assert found.rank_correlation == pytest.approx(1.0)
    assert sum(t.full is not None for t in found.trials) == 4
    assert next(t for t in found.trials if t.default).full is not None
    recipe = from_toml(tmp_path / "best.toml")
    assert recipe.optim.learning_rate == found.best.settings["optim.learning_rate"]
    assert recipe.model.kind == "static"
    assert {t.state for t in found.trials} <= {"whole", "cut short", "no hinge today"}
    page = write(found.to_dict(), tmp_path / "tune.html").read_text("utf-8")
    assert "rank correlation" in page
    assert "<svg" in page


def test_the_first_trial_is_the_default(tmp_path: Path) -> None:
    tuning.tune(ROWS, SMALL, tmp_path, trials=1, carried=1)
    first = seen[0][1]
    assert (first.loss.kind, first.negatives.kind, first.optim.schedule) == ("infonce", "in_batch", "cosine")
    assert first.optim.batch_size == 8


def test_rates_are_tried_around_the_usual_one_of_the_optimiser() -> None:
    rates = {kind: around(ROWS, patch(SMALL, {"optim.kind": kind})).rate for kind in ("adamw", "sgd", "adagrad")}
    assert rates["sgd"] == pytest.approx(100 * rates["adamw"])  # where the learning-rate test of a run begins, too
    assert rates["adagrad"] == pytest.approx(3 * rates["adamw"])


def test_a_search_goes_on_where_it_stopped_and_not_with_other_rows(tmp_path: Path) -> None:
    tuning.tune(ROWS, SMALL, tmp_path, trials=3, carried=1)
    small = [one for one in seen if one[0] < 60]
    assert len(small) == 3
    again = tuning.tune(ROWS, SMALL, tmp_path, trials=5, carried=1)
    assert len([one for one in seen if one[0] < 60]) == 5
    assert len(again.trials) == 5
    assert json.loads((tmp_path / "tune.json").read_text())["metric"] == "recall@10"
    with pytest.raises(RunError, match="a search on other rows or settings"):
        tuning.tune(Rows(train=table(50), dev=ROWS.dev), SMALL, tmp_path, trials=6)


def test_a_search_that_was_killed_in_its_first_trial_tries_the_default_again_and_counts_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tuning, "measured", killed)
        with pytest.raises(KeyboardInterrupt):
            tuning.tune(ROWS, SMALL, tmp_path, trials=3, carried=1)
    found = tuning.tune(ROWS, SMALL, tmp_path, trials=3, carried=3)
    assert len(found.trials) == 3
    default = next(t for t in found.trials if t.default)
    assert (default.number, default.choices["rate"], default.choices["schedule"]) == (1, 1.0, "cosine")
    assert len([one for one in seen if one[0] < 60]) == 3
    assert sum(t.default for t in tuning.tune(ROWS, SMALL, tmp_path, trials=4, carried=3).trials) == 1


def falling(objectives: list[str], default: int | None = None) -> optuna.Study:
    """A search whose trials are ever worse."""
    study = optuna.create_study(direction="maximize")
    choice = optuna.distributions.CategoricalDistribution(sorted(set(objectives)))
    for number, objective in enumerate(objectives):
        study.add_trial(
            optuna.trial.create_trial(
                value=1 - number / len(objectives),
                params={"objective": objective},
                distributions={"objective": choice},
                user_attrs={"said": "whole"} | ({"default": 1} if number == default else {}),
            )
        )
    return study


def test_the_best_that_are_carried_are_of_different_objectives() -> None:
    study = falling(["circle", "circle", "circle", "infonce", "circle", "prototypes", "infonce", "focal"])
    assert tuning._carried(study, 5)[:3] == [0, 3, 5]
    assert tuning._carried(study, 9)[:5] == [0, 3, 5, 7, 1]
    assert sorted(tuning._carried(study, 8)) == list(range(8))
    assert tuning._carried(study, 1) == [0]


@pytest.mark.parametrize("place", [0, 3, 17, 29])  # of the default in the order of the part
@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 30, 40])
def test_half_of_those_that_are_carried_are_the_best_and_the_others_reach_down_to_the_worst(
    count: int, place: int
) -> None:
    study = falling(["infonce"] * 30, default=place)
    carried = tuning._carried(study, count)
    assert len(set(carried)) == len(carried) == min(count, 30)
    half = (count + 1) // 2
    assert carried[:half] == list(range(min(half, 30)))
    assert place in carried or count == 1
    assert 29 in carried or count < 5
    steps = [b - a for a, b in itertools.pairwise([half - 1, *(n for n in carried[half:] if n != place)])]
    assert not steps or max(steps) - min(steps) <= 2


def test_a_recipe_that_cannot_be_trained_on_all_rows_is_listed_and_the_search_goes_on_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning.tune(ROWS, SMALL, tmp_path, trials=6, carried=1)
    best = json.loads((tmp_path / "tune.json").read_text())["trials"][0]

    def some(rows: Rows, recipe: Recipe, everything: Pairs, report: Callable[[int, float], None]) -> float:
        if len(rows.train) > 40 and recipe.optim.learning_rate == best["settings"]["optim.learning_rate"]:
            raise NonFiniteLossError("the loss is nan", rows=[], hint="none")
        return made_up(rows, recipe, everything, report)

    (tmp_path / "carried.json").unlink()
    monkeypatch.setattr(tuning, "measured", some)
    lines: list[str] = []
    found = tuning.tune(ROWS, SMALL, tmp_path, trials=6, carried=4, say=lines.append)
    assert f"trial {best['number']} on all 60 rows: the loss is nan" in lines
    failed = next(t for t in found.trials if t.number == best["number"])
    assert (failed.state, failed.full) == ("on all rows: the loss is nan", None)
    assert found.best.full is not None
    assert json.loads((tmp_path / "carried.json").read_text())[str(best["number"])] == "the loss is nan"
    before = len(seen)
    assert tuning.tune(ROWS, SMALL, tmp_path, trials=6, carried=4) == found
    assert len(seen) == before


def test_what_failed_on_all_rows_is_not_the_best_while_anything_else_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(rows: Rows, recipe: Recipe, everything: Pairs, report: Callable[[int, float], None]) -> float:
        if len(rows.train) > 40:
            raise RecipeError("too many rows", hint="none")
        return made_up(rows, recipe, everything, report)

    monkeypatch.setattr(tuning, "measured", none)
    found = tuning.tune(ROWS, SMALL, tmp_path, trials=6, carried=1)
    assert found.best.state == "whole"
    assert found.rank_correlation is None


def test_a_search_on_all_rows_repeats_none_of_its_runs_and_claims_no_correlation(tmp_path: Path) -> None:
    found = tuning.tune(ROWS, SMALL, tmp_path, trials=6, share=1.0, carried=4)
    assert len(seen) == 6
    assert found.rows == (60, 60)
    assert found.rank_correlation is None
    assert found.best.small == max(t.small for t in found.trials if t.small is not None)


def test_a_search_in_which_nothing_could_be_trained_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> float:
        raise RecipeError("not today", hint="none")

    monkeypatch.setattr(tuning, "measured", none)
    for share in (0.5, 1.0):
        with pytest.raises(RecipeError, match="no trial could be trained"):
            tuning.tune(ROWS, SMALL, tmp_path / str(share), trials=2, share=share)


def test_rows_that_are_read_in_parts_are_carried_in_parts_and_searched_in_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(60).table.write_parquet(tmp_path / "pairs.parquet", row_group_size=10)
    recipe = patch(SMALL, {"data.files": (str(tmp_path / "pairs.parquet"),), "data.stream": True, "data.dev": 10})
    rows = gather(recipe)
    read = []

    def noted(train: Pairs, recipe: Recipe, shards: Shards | None = None) -> Setup:
        read.append((len(train), None if shards is None else len(shards), recipe.negatives.kind))
        return prepare(train, recipe, shards=shards)

    monkeypatch.setattr(tuning, "prepare", noted)
    monkeypatch.setattr(tuning, "measured", REAL)
    lines: list[str] = []
    found = tuning.tune(rows, recipe, tmp_path / "search", trials=2, share=0.5, carried=1, say=lines.append)
    assert [shards for _, shards, _ in read] == [None, None, 60]
    assert read[0][0] < read[2][0] == 50
    assert {kind for *_, kind in read} == {"in_batch"}
    assert found.rows == (read[0][0], 60)
    assert "60 rows are read in parts" in lines[0]
    with pytest.raises(RecipeError, match="needs all rows at hand"):
        tuning.tune(rows, patch(recipe, {"negatives.kind": "random"}), tmp_path / "other", trials=1)


def test_nothing_held_out_is_nothing_to_compare_by(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no held-out rows"):
        tuning.tune(Rows(train=table(50), dev=None), SMALL, tmp_path)
