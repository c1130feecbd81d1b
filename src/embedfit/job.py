"""The whole job, from rows to a run folder: read, divide, audit, train, evaluate, catalogue, report.

The only place where engine, evaluation and doctor meet; the command line and the Python interface both call it.
"""

from __future__ import annotations

__all__ = ["Rows", "Watcher", "divide", "gather", "train"]

import contextlib
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embedfit import report
from embedfit import run as runs
from embedfit.data.audit import Audit, audit
from embedfit.data.identity import fingerprint
from embedfit.doctor import diagnose
from embedfit.engine.fit import Setup, check_resumable, fit, prepare
from embedfit.engine.loop import Slack
from embedfit.errors import RunError
from embedfit.evaluate import Evaluation, main_metric
from embedfit.evaluate import catalogue as catalogues
from embedfit.evaluate.tasks import without_label_texts
from embedfit.gathering import divide, gather
from embedfit.judging import Rows, assist, judge, lighter, quick_keys, readings, standard_error, yardsticks
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, patch, to_toml
from embedfit.run import Run
from embedfit.team import Team, team_of_this_process
from embedfit.towers import TwoTower, save
from embedfit.watching import Silent, Watch, Watcher


def train(
    rows: Rows,
    recipe: Recipe,
    folder: Path,
    *,
    towers: TwoTower | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
) -> tuple[Run, TwoTower]:
    """Train, evaluate and write everything a run folder holds.

    Where `torch.distributed` has been initialised, all its processes call this with the same rows and settings and
    share every batch; the first one measures and writes, and all return the same record.

    Args:
        rows: from `gather` or of the caller's own.
        recipe: the settings.
        folder: of the run.
        towers: train these instead of building what the recipe says.
        resume: go on from the folder's checkpoint.
        watcher: is told what happens.

    Raises:
        RunError: the folder holds a finished run, or cannot be written.
        DataError, ModelError, RecipeError, NonFiniteLossError: see there.
    """
    team = team_of_this_process()
    rows = replace(rows, train=without_label_texts(rows.train), dev=rows.dev and without_label_texts(rows.dev))
    if rows.shards is not None:  # a run that goes on, on whatever machine, reads as it began
        recipe = patch(recipe, {"data.stream": True})
    if not team.leads:
        return _follow(rows, recipe, folder, team, towers=towers, resume=resume)
    watcher = watcher or Silent()
    began = time.perf_counter()
    open_folder(folder, resume=resume)
    setup = prepare(rows.train, recipe, towers, rows.shards)
    seen = audited(rows, setup)
    for line in [*worth_saying(seen), *_notes(rows)]:
        watcher.say(line)
    metric = main_metric(rows.train.kind)
    light, slack = _light(rows, recipe)
    quick = quick_keys(setup.objective.model, rows.train)
    beside = {} if light is None else yardsticks(light, rows.train, quick[0])
    watcher.begin(setup, metric, beside.get("train.lexical"))
    measured_on = "" if rows.dev is None else fingerprint(rows.dev)
    if resume:  # before anything of that run is overwritten
        check_resumable(setup, folder, measured_on)
    write_recipe(folder, recipe)

    known = Run(recipe=recipe, facts={**seen.facts, **setup.facts, **beside, "metric": metric})
    with Watch(folder, watcher, known, resume=resume) as watch:
        fitted = fit(
            setup, folder=folder, progress=watch.step, slack=slack, resume=resume, held_out=measured_on,
            measure=lambda model: {} if light is None else readings(model, light, rows.train, quick, team),
        )  # fmt: skip
    watcher.say("evaluating")
    model = fitted.model
    evaluation, catalogue = judge(model, rows, team)
    facts = {
        **known.facts,
        **fitted.facts,
        "data.held_out": rows.note or f"{len(rows.dev or ()):,} rows",
        **({} if rows.shards is None else {"data.streamed": len(rows.shards)}),
        "data.findings": [finding.to_dict() for finding in seen.findings],
        "job.seconds": round(time.perf_counter() - began, 2),
    }
    save(
        model, folder / "model", extra={"metric": metric, "evaluation": _plain(evaluation.values) if evaluation else {}}
    )
    if catalogue is not None and rows.shards is None:  # else it has the documents of the sample alone
        catalogues.save(catalogue, folder / "catalogue")
    run = write(folder, facts, evaluation, rows.train)
    # what is needed to go on is not needed any more; it is several times as large as the model
    drop_checkpoint(folder)
    return team.tell(run), model


def _light(rows: Rows, recipe: Recipe) -> tuple[Pairs | None, Slack | None]:
    """Held-out rows as they are measured while training goes on, and how far their metric moves by chance."""
    light = None if rows.dev is None else lighter(rows.dev, seed=recipe.optim.seed)
    return light, None if light is None else standard_error(main_metric(rows.train.kind), len(light))


def _follow(
    rows: Rows, recipe: Recipe, folder: Path, team: Team, *, towers: TwoTower | None, resume: bool
) -> tuple[Run, TwoTower]:
    """What a process does that does not lead: it trains and embeds along; the first measures, writes and speaks."""
    setup = prepare(rows.train, recipe, towers, rows.shards)
    light, slack = _light(rows, recipe)

    def help_measuring(model: TwoTower) -> Mapping[str, float]:
        if light is not None:
            assist(model, team)
        return {}

    fitted = fit(setup, folder=folder, measure=help_measuring, progress=Silent().step, slack=slack, resume=resume)
    assist(fitted.model, team)
    return team.tell(None), fitted.model


def audited(rows: Rows, setup: Setup) -> Audit:
    """What was seen in the rows, with the tower's own count of tokens."""
    tower = setup.objective.model.query
    return audit(rows.train, dev=rows.dev, max_tokens=tower.max_tokens, token_counts=tower.token_counts)


def worth_saying(seen: Audit, most: int = 5) -> list[str]:
    """The findings that ask for attention, one line each."""
    told = [str(finding) for finding in seen.findings if finding.severity != "info"]
    rest = len(told) - most
    return [*told[:most], *([f"... and {rest} more: embedfit audit shows them all"] if rest > 0 else [])]


def _notes(rows: Rows) -> list[str]:
    """What else is said of the rows before training."""
    notes = [f"no held-out metric: {rows.note}"] if rows.note else []
    if rows.shards is not None:
        notes.append(f"{len(rows.shards):,} rows are read while training; the audit is of {len(rows.train):,} of them")
        bad = len(rows.train.left_out)
        if bad:
            looked = bad + len(rows.train) + (len(rows.dev) if rows.shards.held_out and rows.dev is not None else 0)
            notes.append(
                f"{bad:,} of {looked:,} rows looked at ({bad / looked:.1%}) have no text; such rows are skipped"
            )
    return notes


def open_folder(folder: Path, *, resume: bool) -> None:
    """Make the folder of a run.

    Raises:
        RunError: it holds a finished run, an unfinished one that is not to be resumed, or files of somebody else; or
            it cannot be made.
    """
    if (folder / "evaluation.json").is_file():
        raise RunError(f"'{folder}' holds a finished run", hint="choose another folder with --out")
    if (folder / "recipe.toml").is_file() and not resume:
        raise RunError(f"'{folder}' holds an unfinished run", hint="add --resume, or choose another folder with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strange = not (folder / "recipe.toml").is_file() and set(folder.iterdir()) - set(runs.temporary(folder))
    except OSError as error:
        raise RunError(f"cannot make '{folder}': {error.strerror}", hint="choose another folder with --out") from None
    if strange:
        raise RunError(f"'{folder}' is not empty and holds no run", hint="choose another folder with --out")
    runs.sweep(folder)


def drop_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a finished run, and nothing else that may lie beside it."""
    with contextlib.suppress(OSError):
        (folder / "checkpoints" / "last.safetensors").unlink(missing_ok=True)
        (folder / "checkpoints").rmdir()


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """recipe.toml, with a comment on every line."""
    with runs.write_atomically(folder / "recipe.toml") as part:
        part.write_text(to_toml(recipe, comments=True), "utf-8")


def write(folder: Path, facts: Mapping[str, Any], evaluation: Evaluation | None, pairs: Pairs) -> Run:
    """Facts, evidence, environment, report, and last the evaluation, whose presence means that the run is finished."""
    left_out = [{"file": b.file, "line": b.line, "column": b.column, "reason": b.reason} for b in pairs.left_out]
    samples = {**(evaluation.samples if evaluation else {}), "left_out": left_out}
    runs.write_json(folder / "facts.json", facts)
    runs.write_json(folder / "samples.json", samples)
    runs.write_json(folder / "environment.json", environment())
    record = evaluation.record() if evaluation else {"metric": facts["metric"], "verdict": "nothing was held out"}
    finished = replace(runs.load(folder), evaluation=_plain(record))
    report.write(finished, diagnose(finished), folder / "report.html")
    runs.write_json(folder / "evaluation.json", record)
    return runs.load(folder)


def environment() -> dict[str, Any]:
    """Versions and machine."""
    packages = ("embedfit", "torch", "transformers", "tokenizers", "polars", "faiss-cpu", "scikit-learn", "numpy")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": torch.cpu.get_capabilities().get("cpu_name", platform.processor()),
        "command": " ".join(sys.argv),
        **{name: metadata.version(name) for name in packages},
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: float(v) if isinstance(v, np.floating) else v for k, v in values.items()}
