"""From rows to a retrieval task: what is asked, what there is to find, and what is right. No model yet.

Axes: q queries, c candidates, k keys (texts by which a candidate is found), r relevant (query, candidate) pairs.
"""

from __future__ import annotations

__all__ = ["Keys", "Task", "task_of", "without_label_texts", "worded"]

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from embedfit.data.clicks import as_collections
from embedfit.errors import DataError
from embedfit.pairs import Pairs, normalise

Keys = Literal["documents", "phrasings", "prototypes"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """Queries, the candidates they look among, and which of them are relevant.

    Attributes:
        queries: the texts asked.
        candidates: text of a document, or name of a class.
        keys: the texts by which candidates are found, sorted by candidate; each candidate has at least one.
        owner: candidate of each key, ascending.
        phrased: the key is a known query (it goes through the query tower), not a document.
        query: the query of each relevant pair.
        relevant: its candidate; -1 where it is not among the candidates, which counts as never found.
        gain: graded relevance of the pair, > 0.
        itself: the candidate that is the query itself, which is no answer to it; -1 where there is none.
        unjudged: queries that have no relevant document at all; they are not asked.
        leaked: queries asked that are word for word among the known ones.
    """

    queries: tuple[str, ...]
    candidates: tuple[str, ...]
    keys: tuple[str, ...]
    owner: Int[np.ndarray, " k"]
    phrased: Bool[np.ndarray, " k"]
    query: Int[np.ndarray, " r"]
    relevant: Int[np.ndarray, " r"]
    gain: Float[np.ndarray, " r"]
    itself: Int[np.ndarray, " q"]
    unjudged: int = 0
    leaked: int = 0


def task_of(pairs: Pairs, known: Pairs | None = None, keys: Keys | None = None) -> Task:
    """The retrieval task that held-out rows pose.

    pairs: candidates are all documents of `known` and `pairs` (explicit negatives too), one per distinct text; each
    distinct query is asked once. collection: candidates are the whole corpus. clicks: candidates are all documents
    shown in `known` and `pairs`, and what was clicked for a query is relevant to it. classes: candidates are the
    classes, and each row is asked; a row whose class has no key can only be missed, and counts as missed.

    Args:
        pairs: the held-out rows, of kind pairs, classes, clicks or collection.
        known: the rows the model may know, of the same kind.
        keys: "documents": each document, or the label text of each class (its label where there is none).
            "phrasings": the known queries of each document, or the known texts of each class, and the documents
            (label texts) as well. "prototypes": each class by its label (first), which the document tower knows, and by
            its known texts. None: phrasings for classes with known rows, documents otherwise.

    Raises:
        DataError: no query can be asked, or the kinds differ.
    """
    if known is not None and known.kind != pairs.kind:
        raise DataError(
            f"held-out rows are of kind '{pairs.kind}', known rows of kind '{known.kind}'",
            hint="give rows of one kind on both sides",
        )
    if pairs.kind == "clicks":
        pairs, known = as_collections(pairs, known)
    if pairs.kind == "graded":
        raise DataError("graded pairs pose no retrieval task", hint="evaluate them by rank correlation")
    if keys in ("phrasings", "prototypes") and known is None:
        raise DataError(f"keys='{keys}' needs the known rows, got none", hint="pass known=the training rows")
    if pairs.kind == "classes":
        return _classes(pairs, known, keys or ("documents" if known is None else "phrasings"))
    if pairs.kind == "collection":
        return _collection(pairs, known, keys or "documents")
    return _pairs(pairs, known, keys or "documents")


def without_label_texts(pairs: Pairs) -> Pairs:
    """Classes under their bare labels, which is what prototypes know them by."""
    return replace(pairs, table=pairs.table.drop("label_text", strict=False))


def worded(task: Task, pairs: Pairs, known: Pairs | None, keys: Keys | None) -> Task:
    """The same candidates as words find them: by every known phrasing, also of classes known by a prototype.

    Args:
        task: from `task_of` with the other arguments.
        pairs: the held-out rows.
        known: the rows the model may know.
        keys: how the model finds candidates.
    """
    if pairs.kind != "classes" or known is None:
        return task
    bare = (without_label_texts(pairs), without_label_texts(known)) if keys == "prototypes" else (pairs, known)
    return task_of(*bare, "phrasings")


def _pairs(pairs: Pairs, known: Pairs | None, keys: Keys) -> Task:
    tables = [pairs.table] if known is None else [pairs.table, known.table]
    documents: dict[str, str] = {}  # by normalised text, the first spelling stands for all
    for rows in [pairs] if known is None else [pairs, known]:
        for name in ("positive", *rows.negatives):
            for text in rows.table[name].drop_nulls().to_list():
                documents.setdefault(normalise(text), text)
    number = {text: i for i, text in enumerate(documents)}
    asked: dict[str, str] = {}
    for text in pairs.table["query"].to_list():
        asked.setdefault(normalise(text), text)
    relevant: dict[str, dict[int, float]] = {}
    phrasings: list[tuple[int, str]] = []
    for place, table in enumerate(tables):
        for query, positive in table.select("query", "positive").iter_rows():
            name, document = normalise(query), number[normalise(positive)]
            if name in asked:
                relevant.setdefault(name, {})[document] = 1.0
            if place == 1:
                phrasings.append((document, query))
    return _task(
        queries=asked,
        relevant=relevant,
        candidates=list(documents.values()),
        keys=[
            *((i, text, False) for i, text in enumerate(documents.values())),
            *((i, text, True) for i, text in phrasings if keys == "phrasings"),
        ],
        itself={name: number[name] for name in asked if name in number},
        known=() if known is None else known.table["query"].to_list(),
    )


def _collection(pairs: Pairs, known: Pairs | None, keys: Keys) -> Task:
    assert pairs.corpus is not None  # Pairs sees to it
    number = {str(name): i for i, name in enumerate(pairs.corpus["document_id"].to_list())}
    texts = pairs.corpus["document"].to_list()
    asked = {
        str(i): text for i, text in pairs.table.select("query_id", "query").unique(maintain_order=True).iter_rows()
    }
    absent: dict[str, int] = {}  # judged documents that are not in the corpus, by numbers below zero
    relevant: dict[str, dict[int, float]] = {}
    phrasings: list[tuple[int, str]] = []
    for place, rows in enumerate([pairs] if known is None else [pairs, known]):
        judged = rows.table.filter(pl.col("relevance") > 0).select("query_id", "query", "document_id", "relevance")
        for query_id, query, document_id, gain in judged.iter_rows():
            name, document = str(query_id), number.get(str(document_id), -1)
            if document < 0:
                document = absent.setdefault(str(document_id), -1 - len(absent))
            if name in asked:
                relevant.setdefault(name, {})[document] = float(gain)
            if place == 1 and document >= 0:
                phrasings.append((document, query))
    return _task(
        queries=asked,
        relevant=relevant,
        candidates=texts,
        keys=[
            *((i, text, False) for i, text in enumerate(texts)),
            *((i, text, True) for i, text in phrasings if keys == "phrasings"),
        ],
        itself={name: number[name] for name in asked if name in number},
        known=() if known is None else known.table["query"].to_list(),
    )


def _classes(pairs: Pairs, known: Pairs | None, keys: Keys) -> Task:
    titles = _titles(pairs, known)
    if keys == "prototypes":  # a prototype is known by its label, whatever the class is called
        titles = {label: label for label in titles}
    has_titles = keys == "prototypes" or any(label != title for label, title in titles.items())
    phrasings = [] if known is None or keys == "documents" else known.table.select("label", "text").rows()
    # a class that is met only among the held-out rows is none that a model could name
    named = (
        set(titles) if (has_titles and keys != "prototypes") or known is None else set(known.table["label"].to_list())
    )
    labels = sorted(named)
    number = {label: i for i, label in enumerate(labels)}
    rows = pairs.table.select("text", "label").rows()
    return _task(
        queries={str(i): text for i, (text, _) in enumerate(rows)},
        relevant={str(i): {number.get(label, -1): 1.0} for i, (_, label) in enumerate(rows)},
        candidates=labels,
        keys=[
            *(
                (number[name], title, False)
                for name, title in titles.items()
                if name in named and (has_titles or keys == "documents")
            ),
            # where the classes have no text of their own, their phrasings are the documents the model was trained on
            *((number[label], text, has_titles) for label, text in phrasings),
        ],
        itself={},
        known=() if known is None else known.table["text"].to_list(),
    )


def _titles(pairs: Pairs, known: Pairs | None) -> dict[str, str]:
    """The text of each class: its label text, or the label itself."""
    titles: dict[str, str] = {}
    for rows in [pairs] if known is None else [known, pairs]:
        text = "label_text" if "label_text" in rows.table.columns else "label"
        for label, title in rows.table.select("label", pl.col(text).alias("title")).unique(maintain_order=True).rows():
            if titles.get(label, label) == label:
                titles[label] = label if title is None else title
    return titles


def _task(
    *,
    queries: Mapping[str, str],
    relevant: Mapping[str, Mapping[int, float]],
    candidates: list[str],
    keys: list[tuple[int, str, bool]],
    itself: Mapping[str, int],
    known: Iterable[str],
) -> Task:
    asked = [name for name in queries if relevant.get(name)]
    if not asked:
        raise DataError(
            f"none of {len(queries)} held-out queries has a relevant document", hint="give rows with relevance > 0"
        )
    if not keys:
        raise DataError("there is nothing to find: no candidates", hint="pass known=the training rows")
    side: dict[tuple[int, str], bool] = {}
    for owner, text, phrased in keys:
        side.setdefault((owner, text), phrased)
    order = sorted(side.items(), key=lambda item: item[0][0])
    triples = [(i, c, g) for i, name in enumerate(asked) for c, g in relevant[name].items()]
    seen = {normalise(text) for text in known}
    own = [itself.get(name, -1) for name in asked]
    return Task(
        queries=tuple(queries[name] for name in asked),
        candidates=tuple(candidates),
        keys=tuple(text for (_, text), _ in order),
        owner=np.array([owner for (owner, _), _ in order], np.int64),
        phrased=np.array([is_query for _, is_query in order], bool),
        query=np.array([i for i, _, _ in triples], np.int64),
        relevant=np.array([max(c, -1) for _, c, _ in triples], np.int64),
        gain=np.array([g for _, _, g in triples], np.float64),
        itself=np.array([-1 if c in relevant[n] else c for c, n in zip(own, asked, strict=True)], np.int64),
        unjudged=len(queries) - len(asked),
        leaked=sum(normalise(queries[name]) in seen for name in asked),
    )
