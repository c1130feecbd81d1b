"""The Python interface: `fit`, `load_run`, `load`, `measure`, `diagnose`."""

from __future__ import annotations

__all__ = ["TrainedRun", "diagnose", "fit", "load", "load_run", "measure"]

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from embedfit import job, judging, report
from embedfit import run as runs
from embedfit.doctor import Diagnosis
from embedfit.doctor import diagnose as examine
from embedfit.errors import DataError
from embedfit.evaluate import Evaluation, evaluate, evaluate_bare, evaluate_binary, is_binary
from embedfit.evaluate import catalogue as catalogues
from embedfit.evaluate.catalogue import Answer
from embedfit.evaluate.embedding import embed
from embedfit.evaluate.tasks import without_label_texts
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, from_toml, patch
from embedfit.run import History, Run
from embedfit.team import ALONE, Team
from embedfit.towers import Prototypes, TwoTower
from embedfit.towers import load as load_model


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: its record, its model, and what can be asked of them.

    Args:
        record: what the run folder holds.
    """

    record: Run

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        assert self.record.folder is not None
        return self.record.folder

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """Held-out metrics: `run.evaluation["recall@10"]`, with `/low` and `/high`, and `lexical/...` beside."""
        return self.record.evaluation

    @property
    def facts(self) -> Mapping[str, Any]:
        """Numbers about the data and what "auto" became."""
        return self.record.facts

    @property
    def history(self) -> History:
        """Readings over the steps."""
        return self.record.history

    @cached_property
    def model(self) -> TwoTower:
        """The trained towers."""
        return load_model(self.folder / "model")

    @cached_property
    def catalogue(self) -> catalogues.Catalogue:
        """The documents the model answers with."""
        return catalogues.load(self.folder / "catalogue")

    def encode(self, texts: Sequence[str], *, role: str = "query") -> Float[np.ndarray, "n e"]:
        """Unit-length embeddings of texts."""
        return self.model.encode(list(texts), role="document" if role == "document" else "query")

    def search(self, text: str, k: int = 10, *, fuse: bool = False) -> list[Answer]:
        """The k nearest documents, best first; none where even the best is below the threshold of the run.

        Args:
            text: the query.
            k: how many documents, at most.
            fuse: add TF-IDF scores to the model's, with the weight that was chosen on the held-out rows. Scores are
                then deviations above the mean over all documents, with a threshold of their own.

        Raises:
            RunError: the run has no documents: it was trained on graded pairs.
            DataError: `fuse`, and nothing was held out to choose the weight on.
        """
        found, threshold = self.nearest(text, k, fuse=fuse)
        return [] if threshold is not None and found[0].score < threshold else found

    def nearest(self, text: str, k: int = 10, *, fuse: bool = False) -> tuple[list[Answer], float | None]:
        """The same whatever they score, and the threshold below which the best is no answer.

        Arguments and errors are those of `search`.
        """
        query, catalogue = embed(judging.encoders(self.model)[0], [text], "queries"), self.catalogue
        if not fuse:
            return catalogue.find(query, k)[0], catalogue.threshold
        found = catalogue.find_fused([text], query, k)[0]
        assert catalogue.lexical is not None  # find_fused sees to it
        return found, catalogue.lexical.threshold

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the report as one HTML file; by default report.html in the run folder."""
        return report.write(self.record, examine(self.record), self.folder / "report.html" if path is None else path)

    def diagnose(self, codes: Sequence[str] = ()) -> Diagnosis:
        """What the doctor finds in this run."""
        return examine(self.record, codes)

    def __repr__(self) -> str:
        metric = str(self.evaluation.get("metric", ""))
        value = self.evaluation.get(metric)
        said = "nothing held out" if value is None else f"{metric} {value:.3f}"
        return f"TrainedRun('{self.folder}', {said})"


def fit(
    train: Pairs | str | os.PathLike[str],
    *,
    dev: Pairs | str | os.PathLike[str] | float | None = None,
    model: str | TwoTower | None = None,
    out: str | os.PathLike[str] | None = None,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    watcher: job.Watcher | None = None,
) -> TrainedRun:
    """Train an embedding model.

    Args:
        train: training rows, or a file of them.
        dev: held-out rows, a file of them, or the share (or number) of the training rows to hold out; by default what
            the recipe says.
        model: kind of tower, path or hub name of a pretrained encoder, or towers of your own.
        out: folder of the run; by default a new one in the temporary folder of the machine.
        recipe: settings, or a recipe file.
        settings: single settings by dotted name, `{"optim.length": "3 epochs"}`.
        resume: go on where the run in `out` was interrupted.
        watcher: is told what happens (the command line's progress is one).

    Returns:
        The run, with its evaluation.

    Raises:
        EmbedfitError: data, settings, model or folder cannot be used; says what to do.
    """
    chosen = from_toml(Path(recipe)) if isinstance(recipe, str | os.PathLike) else recipe or Recipe()
    change = dict(settings or {})
    if isinstance(model, str):
        change["model.kind"] = model
    if isinstance(train, str | os.PathLike):
        change["data.files"] = [os.fspath(train)]
    if isinstance(dev, str | os.PathLike):
        change["data.dev_files"] = [os.fspath(dev)]
    elif isinstance(dev, float | int):
        change["data.dev"] = float(dev)
    elif dev is not None and not isinstance(dev, Pairs):
        raise DataError(
            f"dev is {dev!r}; expected rows, a file of them, or the share or number of rows to hold out",
            hint="dev=0.1, dev=500, dev='held_out.csv', or rows from embedfit.read",
        )
    chosen = patch(chosen, change) if change else chosen
    divided = job.gather(
        chosen, train=train if isinstance(train, Pairs) else None, dev=dev if isinstance(dev, Pairs) else None
    )
    if divided.dev is not None and divided.dev.kind != divided.train.kind:
        raise DataError(
            f"training rows are of kind '{divided.train.kind}', held-out rows of '{divided.dev.kind}'",
            hint="give rows of one kind, for example with kind='pairs' (--kind pairs) for both",
        )
    folder = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="embedfit-"))
    towers = model if isinstance(model, TwoTower) else None
    record, _ = job.train(divided, chosen, folder, towers=towers, resume=resume, watcher=watcher)
    return TrainedRun(record)


def load_run(folder: str | os.PathLike[str]) -> TrainedRun:
    """A run from its folder.

    Raises:
        RunError: there is none, or it is broken.
    """
    return TrainedRun(runs.load(folder))


def load(model: str | os.PathLike[str]) -> TwoTower:
    """A model: a run folder, a model folder of ours or of sentence-transformers, or a hub name.

    Raises:
        ModelError: there is no such model, or it is not understood.
    """
    place = Path(model)
    return load_model(place / "model" if (place / "recipe.toml").is_file() else model)


def measure(
    model: TwoTower | TrainedRun,
    data: Pairs,
    *,
    known: Pairs | None = None,
    dev: Pairs | None = None,
    details: bool = True,
    team: Team = ALONE,
) -> Evaluation:
    """Measure a model on rows, beside the lexical baselines.

    Graded rows whose scores are all 0 or 1 are measured as a classification of pairs: average precision, and accuracy
    and F1 at a threshold that is chosen on `dev`.

    Args:
        model: towers, or a run.
        data: rows to measure on.
        known: rows the model may know: their documents and phrasings are candidates too.
        dev: other pairs with scores 0 and 1, to choose the threshold on.
        details: baselines and evidence too, not only the model's own metrics.
        team: processes that help to embed: the first measures, all others call `judging.assist` with the same towers.

    Raises:
        DataError: the rows cannot be evaluated, or `dev` was given and there is no threshold to choose.
    """
    towers = model.model if isinstance(model, TrainedRun) else model
    with judging.helped(towers, team) as encode:
        if is_binary(data):
            return evaluate_binary(*encode, data, dev=dev, known=known, details=details)
        if dev is not None:
            said = "graded rows with other scores" if data.kind == "graded" else f"rows of kind '{data.kind}'"
            raise DataError(
                f"a threshold is chosen for pairs with scores 0 and 1 (some of each), got {said}", hint="leave dev out"
            )
        if isinstance(towers.document, Prototypes):
            data = without_label_texts(data)
            known = judging.labels_of(towers.document) if known is None else without_label_texts(known)
        keys, how = (None, "blend") if data.kind == "graded" else judging.keys_of(towers, known)
        return (evaluate if details else evaluate_bare)(*encode, data, known=known, keys=keys, how=how)


def diagnose(run: TrainedRun | Run | str | os.PathLike[str]) -> Diagnosis:
    """What the doctor finds in a run (or run folder)."""
    if isinstance(run, TrainedRun):
        return run.diagnose()
    return examine(run if isinstance(run, Run) else runs.load(run))
