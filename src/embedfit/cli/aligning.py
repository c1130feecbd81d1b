"""What `embedfit align` does: compare two spaces, apply a map, distil a teacher; and how it says what it found."""

from __future__ import annotations

__all__ = ["apply", "compare", "distil"]

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from embedfit.align import (
    Alignment,
    Distilled,
    Fit,
    Ratings,
    Rehearsed,
    Teacher,
    check_teacher,
    distil_scores,
    migrate,
)
from embedfit.align import align as align_spaces
from embedfit.align import distil as distil_teacher
from embedfit.cli.sources import open_model
from embedfit.cli.terminal import console, print_json, say, show
from embedfit.data import read
from embedfit.data.paths import format_of
from embedfit.data.tables import open_files
from embedfit.data.texts import read_texts
from embedfit.data.vector_files import is_vectors, read_label_values, read_labels, read_vectors
from embedfit.data.vectors import Matched, Vectors, match
from embedfit.errors import DataError, ModelError
from embedfit.towers import KINDS, build, save
from embedfit.towers.files import read_json
from embedfit.towers.vector_map import append_to_model, check_free, load_map

SHOWN = 5  # rows of a finding


def compare(
    source: str, target: str, form: str, *, texts: str | None, out: str | None, labels: str | None, **how: Any
) -> int:
    """Examine two spaces, learn the map, save it."""
    if out is not None:
        check_free(out)  # before what takes long
    pairs = _pairs(source, target, texts, how.pop("id_column"), how.pop("on_bad_rows"))
    classes = None if labels is None else read_labels(labels, pairs.source_rows)[pairs.rows]
    say(f"{len(pairs):,} pairs, {pairs.source.shape[1]} -> {pairs.target.shape[1]} dimensions; examining", style="dim")
    if pairs.left_out:
        first = "; ".join(map(str, pairs.left_out[:SHOWN]))
        more = " (`--format json` lists all)" if len(pairs.left_out) > SHOWN else ""
        say(f"{len(pairs.left_out):,} rows were left out: {first}{more}", style="yellow")
    found = align_spaces(pairs, labels=classes, **how)
    if form == "json":
        print_json(found.to_dict())
    else:
        show(*_report(found))
    if out is not None and found.fit is not None:
        _save(found, found.fit, out, _model_folder(source) if texts else None)
    return 0 if found.exists else 1


def apply(map_folder: str, source: str, out: str, id_column: str | None, form: str) -> int:
    """Stream vectors through a saved map."""
    made = load_map(map_folder)
    err = console(stderr=True)
    with Progress(TextColumn("mapping"), BarColumn(bar_width=24), TextColumn("{task.completed:,} vectors"),
                  console=err, transient=True, disable=not err.is_terminal) as bar:  # fmt: skip
        task = bar.add_task("", total=None)
        moved = migrate(made, source, out, id_column=id_column, progress=lambda n: bar.update(task, completed=n))
    said = read_json(Path(map_folder) / "map.json")["extra"].get("fit")
    if form == "json":
        print_json({"file": out, "rows": moved.rows, "dimension": moved.dimension, "seconds": moved.seconds,
                    "vectors_per_second": moved.rate, "fit": said})  # fmt: skip
        return 0
    show(f"{out}: {moved.rows:,} vectors of {moved.dimension} dimensions, {moved.rate:,.0f} per second")
    if said is not None:
        show("", "searched, as measured when the map was learned:", _search_table(said["search"]))
    return 0


def distil(
    file: str, teacher: str, student: str, form: str, *, out: str | None, labels: str | None, **training: Any
) -> int:
    """Train a small tower after a teacher, and save it."""
    if student not in KINDS:
        raise DataError(f"a student is built from scratch; got '{student}'", hint=f"one of {', '.join(KINDS)}")
    if out is None:
        raise DataError("a student that is not saved is of no use", hint="-o DIR")
    texts = read_texts(file)
    if not is_vectors(teacher) and Path(teacher).is_file() and format_of(Path(teacher)) is not None:
        return _distil_scores(texts, teacher, student, form, out=out, labels=labels, **training)
    given = _teacher(teacher, texts)
    if labels is not None:
        found = check_teacher(texts, given.vectors, labels=read_labels(labels, len(texts)))
        show(*map(str, found))
        if any(finding.severity == "issue" for finding in found):
            return 1
    other, dimension = training.pop("translations"), training.pop("dimension")
    made = distil_teacher(
        texts,
        given if dimension is None else given.reduced(dimension),
        student=student,
        translations=None if other is None else read_texts(other),
        **{name: value for name, value in training.items() if value != "auto"},
    )
    v = made.to_dict()
    place = save(made.model, out, extra={"teacher": teacher, "distilled": v})
    said = [
        f"held out {v['rows']:,} texts: cosine with the teacher {v['cosine']:.3f}, the right one of "
        f"{v['candidates']:,} first for {v['recall@1']:.3f}, similarities ordered as the teacher's "
        f"{v['similarity/spearman']:.3f} (Spearman)"
    ]
    if made.crossing is not None:
        said.append(f"translations find their original first for {made.crossing.recall(1):.3f} "
                    f"of {len(made.crossing.rank):,}")  # fmt: skip
    return _taught(made, v, f"{place}: {student}", said, form)


def _distil_scores(
    texts: list[str], teacher: str, student: str, form: str, *, out: str, labels: str | None, **training: Any
) -> int:
    """The same where the teacher is a table of scores."""
    if training["objective"] != "auto" or training["translations"] is not None:
        name = "objective" if training["objective"] != "auto" else "translations"
        raise DataError(f"--{name} has no effect where the teacher is a table of scores", hint="leave it out")
    usual = {"sentence1": "query", "sentence2": "document"}
    there = set(usual.values()) <= set(open_files([Path(teacher)], "utf-8").columns)
    table = read(teacher, kind="graded", columns=usual if there else None).table
    ratings = Ratings(
        queries=table["sentence1"].to_list(),
        documents=table["sentence2"].to_list(),
        scores=table["score"].to_numpy().astype(np.float64),
        relevant=None if labels is None else _relevant(read_label_values(labels, len(table)), labels),
    )
    everything = [*texts, *ratings.queries, *ratings.documents]
    tower = build(student, everything, dimension=training["dimension"], seed=training["seed"])
    made = distil_scores(ratings, student=tower, seed=training["seed"])
    v = made.to_dict()
    place = save(made.model, out, extra={"teacher": teacher, "distilled": v})
    said = [
        f"held out {v['queries']:,} queries: candidates ordered as the teacher's {v['agreement']:.3f} "
        f"({v['agreement/low']:.3f}..{v['agreement/high']:.3f}; TF-IDF {v['lexical/agreement']:.3f}; Spearman), the "
        f"same one first for {v['first']:.3f}"
    ]
    return _taught(made, v, f"{place}: {student}", said, form)


def _relevant(values: list[Any], labels: str) -> Bool[np.ndarray, " n"]:
    try:
        return np.array([float(value) > 0 for value in values])
    except ValueError as error:
        raise DataError(
            f"{labels}: {error}",
            hint="beside scores, the label of a row says whether its document answers its query: 1 or 0",
        ) from error


def _taught(made: Distilled | Rehearsed, values: dict[str, Any], name: str, said: list[str], form: str) -> int:
    """Say what became of a student."""
    if form == "json":
        print_json(values)
        return 0
    for finding in made.findings:
        show(str(finding))
    show(f"{name}, {values['parameters']:,} parameters, {values['dimension']} dimensions", *said)
    if made.temperature is not None:
        tried = ", ".join(f"{t:g} {value:.3f}" for t, value in made.temperatures.items())
        show(f"temperature {made.temperature:g} (agreement after a short run: {tried})")
    return 0


def _teacher(name: str, texts: list[str]) -> Teacher:
    if is_vectors(name):
        return Teacher(vectors=np.asarray(read_vectors(name).values, np.float32))
    model = open_model(name).model
    say(f"{name} embeds {len(texts):,} texts", style="dim")
    encode = partial(model.encode, role="document")
    return Teacher(vectors=encode(texts), encode=encode)


def _pairs(source: str, target: str, texts: str | None, id_column: str | None, on_bad_rows: Any) -> Matched:
    if texts is None:
        for name in (source, target):
            if not is_vectors(name) and Path(name).is_dir():
                raise DataError(f"'{name}' is a folder and no file of vectors", hint="a model needs --texts FILE")
        sides = [read_vectors(name, id_column=id_column) for name in (source, target)]
    else:
        rows = list(dict.fromkeys(read_texts(texts)))
        sides = [_encoded(name, rows) for name in (source, target)]
    return match(sides[0], sides[1], on_bad_rows=on_bad_rows)


def _encoded(name: str, texts: list[str]) -> Vectors:
    say(f"{name} embeds {len(texts):,} texts", style="dim")
    return Vectors(values=open_model(name).model.encode(texts, role="document"), ids=None, source=name)


def _model_folder(name: str) -> Path | None:
    place = Path(name)
    return next((p for p in (place / "model", place) if (p / "modules.json").is_file()), None)


def _save(found: Alignment, fit: Fit, out: str, model: Path | None) -> None:
    folder = found.save(out)
    say(f"map: {folder}; use it with `embedfit align VECTORS OUT --apply {folder}`", style="dim")
    if model is None:
        return
    try:
        place = append_to_model(fit.map, model, folder / "model")
        say(f"the source model with the map behind it, for sentence-transformers: {place}", style="dim")
    except ModelError as error:
        say(f"no sentence-transformers model was written: {error.message}", style="yellow")


def _report(found: Alignment) -> Iterable[Any]:
    yield found.verdict
    yield ""
    yield _evidence_table(found)
    yield ""
    yield _maps_table(found)
    for finding in found.findings:
        yield ""
        yield str(finding)
        for example in finding.examples[:SHOWN]:
            yield "       " + ", ".join(f"{name} {value}".replace("row row", "row") for name, value in example.items())
    if found.fit is None:
        return
    fit, values = found.fit, found.fit.quality.to_dict()
    fewer = fit.enough()
    enough = "more may help" if fewer is None else f"{fewer:,} are enough"
    yield ""
    yield (
        f"map      {fit.kind}, learned under '{fit.objective}' from {fit.pairs:,} pairs; {enough} "
        f"(held-out recall@1 by pairs: {', '.join(f'{n:,} {v:.3f}' for n, v in fit.learning.items())})"
    )
    yield (
        f"held out {values['rows']:,} pairs among {values['candidates']:,} targets: recall@1 {values['recall@1']:.3f} "
        f"({values['recall@1/low']:.3f}..{values['recall@1/high']:.3f}), recall@10 {values['recall@10']:.3f}, cosine "
        f"{values['cosine']:.3f}, relative L2 {values['relative_l2']:.3f}, norm ratio {values['norm_ratio']:.3f}"
    )
    if fit.curve is not None:
        steps = fit.curve.first_at(0.9)
        yield f"descent  {f'cosine .9 after {steps} steps' if steps is not None else 'cosine .9 was never reached'}"
    yield ""
    yield _search_table(fit.search.to_dict())


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i == 0 else "right", no_wrap=True)
    return table


def _evidence_table(found: Alignment) -> Table:
    table = _table("test", "measured", "shuffled", "z or p", "")
    table.columns[-1].justify = "left"
    for e in found.exam.evidence:
        sure = f"z {e.z:.1f}" if e.z is not None else f"p {e.p:.3f}" if e.p is not None else ""
        table.add_row(e.name, f"{e.value:.3f}", f"{e.shuffled:.3f}", sure, e.statistic)
    return table


def _maps_table(found: Alignment) -> Table:
    table = _table("map", "recall@1", "recall@10", "cosine", "relative L2", "norm ratio", "R2")
    for trial in found.exam.trials:
        v = trial.quality.to_dict()
        names = ("recall@1", "recall@10", "cosine", "relative_l2", "norm_ratio")
        table.add_row(trial.name, *(f"{v[name]:.3f}" for name in names), f"{trial.r2:.3f}")
    return table


def _search_table(search: dict[str, Any]) -> Table:
    labelled = "accuracy@1/old" in search
    table = _table(f"search ({search['queries']:,} queries)", "finds itself @1", "first 10 as with new",
                   *(["same label @1"] if labelled else []))  # fmt: skip
    own, agreed = (search["own/recall@1"], search["agreement@10/old"]), search["agreement@10/migrated"]
    rows = (("old on old", "old", 1.0, own[1]), ("new on new", "new", 1.0, 1.0),
            ("new on migrated", "migrated", own[0], agreed))  # fmt: skip
    for name, key, itself, agreement in rows:
        label = [f"{search[f'accuracy@1/{key}']:.3f}"] if labelled else []
        table.add_row(name, f"{itself:.3f}", f"{agreement:.3f}", *label)
    return table
