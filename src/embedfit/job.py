"""The whole job, from rows to a run folder: read, divide, audit, train, evaluate, catalogue, report.

The only place where engine, evaluation and doctor meet; the command line and the Python interface both call it.
"""

from __future__ import annotations

__all__ = ["Rows", "Watcher", "gather", "train"]

import contextlib
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl
import torch
from jaxtyping import Float

from embedfit import report
from embedfit import run as runs
from embedfit.data import read, split
from embedfit.data.audit import Audit, audit
from embedfit.data.texts import read_texts
from embedfit.doctor import diagnose
from embedfit.engine.fit import Setup, check_resumable, fit, prepare
from embedfit.errors import DataError, RunError
from embedfit.evaluate import Evaluation, evaluate, main_metric
from embedfit.evaluate import catalogue as catalogues
from embedfit.evaluate.baselines import graded_baseline, lexical_scorer
from embedfit.evaluate.embedding import Encode
from embedfit.evaluate.faq import How
from embedfit.evaluate.held_out import evaluate_bare
from embedfit.evaluate.retrieval import rank_task
from embedfit.evaluate.tasks import Keys, Task, task_of
from embedfit.metrics import measure, spearman
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, to_toml
from embedfit.run import Run
from embedfit.towers import Prototypes, Role, TwoTower, save

LIGHT_CORPUS = 5_000
"""Documents of a collection that the evaluations during training look at; the final one looks at all."""
LIGHT_PHRASINGS = 3_000
"""Known queries, at most, that the evaluations during training embed anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a run is trained and judged on.

    Attributes:
        train: the training rows.
        dev: held-out rows; None where nothing could be held out.
        out_of_scope: texts without an answer, to see how many of them are refused.
        note: why nothing is held out.
    """

    train: Pairs
    dev: Pairs | None
    out_of_scope: tuple[str, ...] = ()
    note: str = ""


@runtime_checkable
class Watcher(Protocol):
    """Who is told what a job is doing."""

    def begin(self, setup: Setup, metric: str, lexical: float | None) -> None:
        """Training is about to start."""

    def step(self, step: int, steps: int, readings: Mapping[str, float]) -> None:
        """After each step."""

    def say(self, text: str) -> None:
        """A sentence for the user."""


class Silent:
    """A watcher that says nothing."""

    def begin(self, setup: Setup, metric: str, lexical: float | None) -> None:
        """Nothing."""

    def step(self, step: int, steps: int, readings: Mapping[str, float]) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


def gather(recipe: Recipe) -> Rows:
    """Read the rows a recipe names.

    Raises:
        DataError: they cannot be read or divided.
    """
    data = recipe.data

    def rows(files: tuple[str, ...]) -> Pairs:
        source: Any = files[0] if len(files) == 1 else list(files)
        return read(source, kind=data.kind, columns=data.columns, on_bad_rows=data.on_bad_rows, encoding=data.encoding)

    if not data.files:
        raise DataError("the recipe names no data", hint='data.files = ["faq.csv"]')
    outside = tuple(text for file in data.out_of_scope for text in read_texts(file, encoding=data.encoding))
    train = rows(data.files)
    if data.dev_files:
        return Rows(train=train, dev=rows(data.dev_files), out_of_scope=outside)
    return replace(divide(train, data.dev, seed=recipe.optim.seed), out_of_scope=outside)


def divide(pairs: Pairs, dev: float, *, seed: int) -> Rows:
    """Hold rows out; where the rows do not allow it, train on all of them and say so."""
    if dev == 0:
        return Rows(train=pairs, dev=None, note="nothing is held out, as asked")
    try:
        train, held_out = split(pairs, dev=dev if dev < 1 else int(dev), seed=seed)
    except DataError as error:
        return Rows(train=pairs, dev=None, note=error.message)
    return Rows(train=train, dev=held_out)


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
    watcher = watcher or Silent()
    began = time.perf_counter()
    open_folder(folder, resume=resume)
    rows = replace(rows, train=without_label_texts(rows.train), dev=rows.dev and without_label_texts(rows.dev))
    setup = prepare(rows.train, recipe, towers)
    seen = audited(rows, setup)
    for found in worth_saying(seen):
        watcher.say(found)
    if rows.note:
        watcher.say(f"no held-out metric: {rows.note}")
    metric = main_metric(rows.train.kind)
    light = None if rows.dev is None else lighter(rows.dev, seed=recipe.optim.seed)
    quick = quick_keys(setup.objective.model, rows.train)
    lexical = None if light is None else lexical_value(light, rows.train, quick[0])
    watcher.begin(setup, metric, lexical)
    if resume:  # before anything of that run is overwritten
        check_resumable(setup, folder)
    write_recipe(folder, recipe)

    def held_out(model: TwoTower) -> Mapping[str, float]:
        if light is None:
            return {}
        values = evaluate_bare(*encoders(model), light, known=rows.train, keys=quick[0], how=quick[1]).values
        # recall@10 of a small set soon stands still; the rank of the first hit then still tells models apart
        return {f"dev/{name}": values[name] for name in (metric, "mrr@10") if name in values}

    fitted = fit(setup, folder=folder, measure=held_out, progress=watcher.step, resume=resume)
    watcher.say("evaluating")
    model = fitted.model
    evaluation, catalogue = judge(model, rows)
    facts = {
        **seen.facts,
        **fitted.facts,
        "metric": metric,
        "train.lexical": lexical,
        "data.findings": [finding.to_dict() for finding in seen.findings],
        "job.seconds": round(time.perf_counter() - began, 2),
    }
    save(
        model, folder / "model", extra={"metric": metric, "evaluation": _plain(evaluation.values) if evaluation else {}}
    )
    if catalogue is not None:
        catalogues.save(catalogue, folder / "catalogue")
    left_out = [{"file": b.file, "line": b.line, "column": b.column, "reason": b.reason} for b in rows.train.left_out]
    run = write(folder, recipe, facts, evaluation, left_out)
    # what is needed to go on is not needed any more; it is several times as large as the model
    drop_checkpoint(folder)
    return run, model


def encoders(model: TwoTower) -> tuple[Encode, Encode]:
    """The two functions from texts to unit rows that evaluation asks for.

    They remember what they have embedded: evaluation, threshold and catalogue ask for the same texts, and embedding
    them is nearly all of their time.
    """
    kept: dict[tuple[Role, str], Float[np.ndarray, " e"]] = {}

    def encode(texts: Sequence[str], role: Role) -> Float[np.ndarray, "n e"]:
        fresh = [text for text in dict.fromkeys(texts) if (role, text) not in kept]
        kept.update(zip(((role, text) for text in fresh), model.encode(fresh, role=role), strict=True))
        return np.stack([kept[role, text] for text in texts]) if texts else np.empty((0, model.dimension), np.float32)

    return (
        lambda texts: encode(texts, "query"),
        lambda texts: encode(texts, "query" if model.shared else "document"),
    )


def keys_of(model: TwoTower, known: Pairs | None) -> tuple[Keys | None, How]:
    """How the documents of a model are found, and how several keys of one become a score.

    Classes by their prototypes, if the model has any, and by their known texts; standard questions by all their known
    phrasings; other documents by their own text.
    """
    if known is not None and known.kind == "graded":
        return None, "blend"
    if isinstance(model.document, Prototypes):
        return ("documents", "blend") if known is None else ("prototypes", "anchored")
    phrased = known is not None and (known.kind == "classes" or shared_documents(known))
    return ("phrasings" if phrased else "documents"), "blend"


def quick_keys(model: TwoTower, known: Pairs) -> tuple[Keys | None, How]:
    """The same for the evaluations during training, where many known phrasings would have to be embedded anew."""
    keys, how = keys_of(model, known)
    if keys == "prototypes" or (keys == "phrasings" and known.kind == "pairs" and len(known) > LIGHT_PHRASINGS):
        return "documents", "blend"
    return keys, how


def without_label_texts(pairs: Pairs) -> Pairs:
    """Classes under their bare labels, which is what prototypes know them by."""
    return replace(pairs, table=pairs.table.drop("label_text", strict=False))


def shared_documents(pairs: Pairs) -> bool:
    """Whether documents have several known queries each, as the standard questions of a help desk do."""
    return pairs.kind == "pairs" and pairs.table["positive"].n_unique() <= len(pairs) / 2


def judge(model: TwoTower, rows: Rows) -> tuple[Evaluation | None, catalogues.Catalogue | None]:
    """The evaluation of a trained model on the held-out rows, and the catalogue it answers from."""
    encode = encoders(model)
    if rows.train.kind == "graded":
        return (None if rows.dev is None else evaluate(*encode, rows.dev, known=rows.train)), None
    keys, how = keys_of(model, rows.train)
    if rows.dev is None:
        task = task_of(rows.train, rows.train, keys)
        return None, catalogues.build(*encode, task, how=how, threshold=None)
    task = task_of(rows.dev, rows.train, keys)
    evaluation = evaluate(*encode, rows.dev, known=rows.train, keys=keys, how=how)
    threshold = catalogues.threshold_of(*encode, task, how=how)
    catalogue = catalogues.build(*encode, task, how=how, threshold=threshold)
    if threshold is None:
        return evaluation, catalogue
    values = {**evaluation.values, "threshold": threshold}
    if rows.out_of_scope:
        best = [found[0].score for found in catalogue.find(encode[0](list(rows.out_of_scope)), 1)]
        values["out_of_scope/refused"] = float(np.mean(np.array(best) < threshold))
    return replace(evaluation, values=values), catalogue


def lexical_value(dev: Pairs, known: Pairs, keys: Keys | None) -> float:
    """The main metric of the lexical baseline, by the same keys as the model's during training."""
    if dev.kind == "graded":
        sides = [dev.table[c].to_list() for c in ("sentence1", "sentence2")]
        rest = [text for c in ("sentence1", "sentence2") for text in known.table[c].to_list()]
        return spearman(graded_baseline(sides[0], sides[1], rest), dev.table["score"].to_numpy().astype(np.float64))
    task: Task = task_of(dev, known, "phrasings" if dev.kind == "classes" else keys)
    return float(measure(rank_task(task, lexical_scorer(task)).ranking, main_metric(dev.kind)).mean())


def lighter(dev: Pairs, *, seed: int) -> Pairs:
    """A collection with a smaller corpus: all judged documents and a sample of the others."""
    if dev.corpus is None or dev.corpus.height <= LIGHT_CORPUS:
        return dev
    judged = dev.corpus.join(dev.table.select("document_id").unique(), on="document_id", how="semi")
    others = dev.corpus.join(judged, on="document_id", how="anti")
    room = max(0, min(others.height, LIGHT_CORPUS - judged.height))
    return replace(dev, corpus=pl.concat([judged, others.sample(room, seed=seed)]))


def audited(rows: Rows, setup: Setup) -> Audit:
    """What was seen in the rows, with the tower's own count of tokens."""
    tower = setup.objective.model.query
    return audit(rows.train, dev=rows.dev, max_tokens=tower.max_tokens, token_counts=tower.token_counts)


def worth_saying(seen: Audit, most: int = 5) -> list[str]:
    """The findings that ask for attention, one line each."""
    told = [str(finding) for finding in seen.findings if finding.severity != "info"]
    rest = len(told) - most
    return [*told[:most], *([f"... and {rest} more: embedfit audit shows them all"] if rest > 0 else [])]


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


def write(
    folder: Path,
    recipe: Recipe,
    facts: Mapping[str, Any],
    evaluation: Evaluation | None,
    left_out: list[dict[str, Any]],
) -> Run:
    """Facts, evidence, environment, report, and last the evaluation, whose presence means that the run is finished."""
    samples = {**(evaluation.samples if evaluation else {}), "left_out": left_out}
    runs.write_json(folder / "facts.json", facts)
    runs.write_json(folder / "samples.json", samples)
    runs.write_json(folder / "environment.json", environment())
    record = evaluation.record() if evaluation else {"metric": facts["metric"], "verdict": "nothing was held out"}
    finished = replace(runs.load(folder), evaluation=_plain(record))
    report.write(finished, diagnose(finished), folder / "report.html")
    runs.write_json(folder / "evaluation.json", record)
    del recipe
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
