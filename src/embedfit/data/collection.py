"""Collections: a corpus, queries, and judgements of which document answers which query (BEIR layout or three files).

Layout: N. Thakur et al., BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of Information Retrieval Models,
2021.
"""

from __future__ import annotations

__all__ = ["find_collection", "read_collection", "read_one", "some_ids", "unique_ids", "with_titles"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from embedfit.data.bind import bind_roles
from embedfit.data.binding import Binding
from embedfit.data.paths import format_of, require_file
from embedfit.data.rows import OnBadRows, gather
from embedfit.data.tables import Part, open_files
from embedfit.errors import BadRow, DataError
from embedfit.pairs import Pairs

_ROLES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "corpus": (("document_id", "document"), ("title",)),
    "queries": (("query_id", "query"), ()),
    "qrels": (("query_id", "document_id"), ("relevance",)),
}
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One of the three tables, settled."""

    name: str
    part: Part
    rows: pl.DataFrame
    binding: Binding
    left_out: tuple[BadRow, ...]


def find_collection(folder: Path, split: str | None, *, required: bool) -> dict[str, Path]:
    """The three files of a folder in BEIR layout; empty where the folder is none.

    Args:
        folder: holds corpus.jsonl, queries.jsonl and qrels/*.tsv.
        split: which qrels; None takes "train", or the only one.
        required: whether a folder that is no collection is an error.

    Raises:
        DataError: the layout is incomplete, or there is no such split.
    """
    named = {role: _one(folder, role) for role in ("corpus", "queries")}
    if not all(named.values()) and not (required or (any(named.values()) and (folder / "qrels").is_dir())):
        return {}
    qrels = _qrels(folder)
    missing = [role for role, path in named.items() if path is None] + ([] if qrels else ["qrels"])
    if missing:
        raise DataError(
            f"{folder} is no collection in BEIR layout: it lacks {', '.join(missing)}",
            hint="expected corpus.jsonl, queries.jsonl and qrels/train.tsv; or name the files: "
            "read(corpus=..., queries=..., qrels=...)",
        )
    chosen = (
        split if split is not None else "train" if "train" in qrels else next(iter(qrels)) if len(qrels) == 1 else None
    )
    if chosen is None or chosen not in qrels:
        raise DataError(
            f"{folder} has no qrels called '{chosen}'"
            if chosen
            else f"{folder} has several qrels, none called 'train'",
            hint="name one: " + " or ".join(f"split='{name}'" for name in qrels),
        )
    return {**{role: path for role, path in named.items() if path}, "qrels": qrels[chosen]}


def read_collection(
    files: Mapping[str, Path], *, roles: Mapping[str, Any], on_bad_rows: OnBadRows, encoding: str
) -> Pairs:
    """Read corpus, queries and qrels, and check that their ids belong together.

    Args:
        files: `corpus`, `queries` and `qrels`; two of them may be one file.
        roles: role -> column, taken in every file that has this column.
        on_bad_rows: "skip" also leaves out judgements of unknown queries or documents.
        encoding: of text files.

    Raises:
        DataError: a column is missing, an id stands for two texts, a judgement names an unknown id or contradicts
            another one.
    """
    read = {role: read_one(role, path, roles, on_bad_rows, encoding) for role, path in files.items()}
    _refuse_unknown_roles(roles, read)
    corpus, corpus_notes = unique_ids(with_titles(read["corpus"].rows), "document_id", "document", read["corpus"].name)
    queries, query_notes = unique_ids(read["queries"].rows, "query_id", "query", read["queries"].name)
    unknown = _unknown(read["qrels"], queries, corpus, on_bad_rows)
    qrels, qrels_notes = _judgements(read["qrels"], queries, corpus)
    table = qrels.join(queries, on="query_id", how="left", maintain_order="left")
    table = table.select("query_id", "query", "document_id", "relevance")
    notes = (*corpus_notes, *query_notes, *qrels_notes, _summary(table, queries, corpus))
    return Pairs(
        kind="collection",
        table=table,
        corpus=corpus,
        source=", ".join(file.name for file in read.values()),
        binding=_joint_binding(read, notes),
        left_out=(*(bad for file in read.values() for bad in file.left_out), *unknown),
    )


def _one(folder: Path, role: str) -> Path | None:
    return next((p for p in sorted(folder.glob(f"{role}.*")) if format_of(p)), None)


def _qrels(folder: Path) -> dict[str, Path]:
    inside = sorted(p for p in (folder / "qrels").glob("*") if format_of(p)) if (folder / "qrels").is_dir() else []
    beside = [p for p in sorted(folder.glob("qrels.*")) if format_of(p)]
    return {p.name.split(".")[0]: p for p in (*inside, *beside)}


def read_one(role: str, path: Path, roles: Mapping[str, Any], on_bad_rows: OnBadRows, encoding: str) -> _File:
    """One table of several, its rows under canonical names: `corpus`, `queries` or `qrels`."""
    table = open_files([require_file(path)], encoding)
    required, optional = _ROLES[role]
    binding = bind_roles(table.columns, required=required, optional=optional, roles=roles, name=table.name)
    parts = table.load(list(binding.values()), [])
    rows, bound, left_out = gather(parts, binding, on_bad_rows, table.name)
    bound = Binding(bound.columns, bound.unused, (*table.notes, *bound.notes))
    return _File(name=table.name, part=parts[0], rows=rows, binding=bound, left_out=left_out)


def _refuse_unknown_roles(roles: Mapping[str, Any], read: Mapping[str, _File]) -> None:
    known = dict.fromkeys(role for required, optional in _ROLES.values() for role in (*required, *optional))
    for role, column in roles.items():
        if role not in known:
            raise DataError(
                f"a collection has no role '{role}'; its roles are {', '.join(known)}",
                hint="write role='name of the column' for one of these",
            )
        if not any(file.binding.get(role) == column for file in read.values()):
            seen = sorted({c for file in read.values() for c in (*file.binding.values(), *file.binding.unused)})
            raise DataError(
                f"no file of the collection has a column '{column}' for the role '{role}'",
                hint=f"the columns are {', '.join(seen)}",
            )


def with_titles(rows: pl.DataFrame) -> pl.DataFrame:
    """Title before text, as BEIR does it; not where the text begins with its title anyway. No text at all is ""."""
    text = pl.col("document").fill_null("")
    if "title" in rows.columns:
        title = pl.col("title").fill_null("")
        repeated = (title.str.strip_chars() == "") | text.str.starts_with(title)
        text = pl.when(repeated).then(text).otherwise((title + " " + text).str.strip_chars_end())
    return rows.select("document_id", document=text)


def unique_ids(rows: pl.DataFrame, id_: str, text: str, name: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Each id once with its text, and what to say of ids that were repeated.

    Raises:
        DataError: an id stands for two texts.
    """
    repeated = rows.filter(pl.col(id_).is_duplicated())
    if not repeated.height:
        return rows.select(id_, text), ()
    clashing = repeated.group_by(id_, maintain_order=True).agg(pl.col(text).n_unique()).filter(pl.col(text) > 1)
    if clashing.height:
        raise DataError(
            f"{name}: {some_ids(clashing[id_])} stand{'s' if clashing.height == 1 else ''} for different texts",
            hint=f"every {id_} needs one text",
        )
    unique = rows.unique(id_, keep="first", maintain_order=True)
    return unique.select(id_, text), (f"{name}: {rows.height - unique.height:,} rows repeat an id with the same text",)


def _unknown(qrels: _File, queries: pl.DataFrame, corpus: pl.DataFrame, on_bad_rows: OnBadRows) -> list[BadRow]:
    """Judgements whose query or document is nowhere, found in the raw rows because those know their lines."""
    left_out = []
    for role, known, where in (
        ("query_id", queries["query_id"], "queries"),
        ("document_id", corpus["document_id"], "corpus"),
    ):
        column = qrels.binding[role]
        ids = qrels.part.frame[column].cast(pl.String)
        rows = (~ids.is_in(known.implode()) & ids.is_in(qrels.rows[role].implode())).arg_true()
        if not len(rows):
            continue
        if on_bad_rows == "error":
            line = qrels.part.position(rows[:1].to_list())[0]
            first = qrels.part.bad_row(line, column, "an id that is unknown")
            raise DataError(
                f"{first}: {some_ids(ids[rows].unique(maintain_order=True))} not in the {where} "
                f"({len(rows):,} judgements)",
                hint="bring the files together, or leave these judgements out: on_bad_rows='skip' (--on-bad-rows skip)",
            )
        lines = qrels.part.position(rows.to_list())
        left_out += [
            qrels.part.bad_row(line, column, f"'{id_}' is not in the {where}")
            for line, id_ in zip(lines, ids[rows], strict=True)
        ]
    return left_out


def _judgements(file: _File, queries: pl.DataFrame, corpus: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    rows = file.rows.join(queries, on="query_id", how="semi", maintain_order="left")
    rows = rows.join(corpus, on="document_id", how="semi", maintain_order="left")
    if not rows.height:
        raise DataError(
            f"no judgement of {file.name} names a known query and a known document",
            hint="the ids of the judgements have to be those of the corpus and of the queries: compare the first lines",
        )
    notes: tuple[str, ...] = ()
    if "relevance" not in rows.columns:
        rows = rows.with_columns(relevance=pl.lit(1.0))
        notes = (f"{file.name} has no column of relevance: every judgement counts as relevant (1)",)
    pair = ["query_id", "document_id"]
    unique = rows.unique([*pair, "relevance"], keep="first", maintain_order=True)
    clashing = unique.filter(pl.struct(pair).is_duplicated())
    if clashing.height:
        one = clashing.row(0, named=True)
        raise DataError(
            f"{file.name} judges the query '{one['query_id']}' and the document '{one['document_id']}' in two ways "
            f"({clashing.select(pair).n_unique():,} such pairs)",
            hint="keep one judgement of every query and document",
        )
    if unique.height < rows.height:
        notes = (*notes, f"{file.name}: {rows.height - unique.height:,} judgements were given twice and count once")
    return unique, notes


def _summary(table: pl.DataFrame, queries: pl.DataFrame, corpus: pl.DataFrame) -> str:
    unjudged_queries = queries.height - table["query_id"].n_unique()
    unjudged = corpus.height - table["document_id"].n_unique()
    empty = corpus.filter(pl.col("document").str.strip_chars() == "").height
    text = (
        f"{queries.height:,} queries ({unjudged_queries:,} without judgement), {corpus.height:,} documents "
        f"({unjudged:,} not judged), {table.height:,} judgements"
    )
    return text + (f"; {empty:,} documents have no text" if empty else "")


def _joint_binding(read: Mapping[str, _File], notes: Sequence[str]) -> Binding:
    columns: dict[str, str] = {}
    for file in read.values():
        for role, column in file.binding.items():
            columns.setdefault(role, column)
    used = {c for file in read.values() for c in file.binding.values()}
    unused = dict.fromkeys(c for file in read.values() for c in file.binding.unused if c not in used)
    found_out = dict.fromkeys(note for file in read.values() for note in file.binding.notes)
    return Binding(columns, tuple(unused), (*found_out, *notes))


def some_ids(ids: pl.Series) -> str:
    """The first ids, and how many more there are."""
    shown = ", ".join(f"'{i}'" for i in ids.head(_SHOWN))
    return shown + (f" and {len(ids) - _SHOWN:,} more ids" if len(ids) > _SHOWN else "")
