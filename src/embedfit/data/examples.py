"""`Pairs` to training examples: distinct texts once, and what belongs to what as numbers."""

from __future__ import annotations

__all__ = ["Examples", "examples"]

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from embedfit.data.clicks import as_pairs
from embedfit.errors import DataError
from embedfit.pairs import COLUMNS, Pairs, normalise


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Examples:
    """n training examples over distinct texts.

    Attributes:
        query_texts: distinct query texts.
        document_texts: distinct document texts; for classes the labels, or the texts again, each once in each of its
            classes (see `partners`).
        query_id: identity of each query text; equal after normalisation = equal id.
        document_id: identity of each document text, in the same numbering. Labels have ids of their own.
        query: row of `query_texts` of each example.
        positive: row of `document_texts` of each example's positive.
        negatives: rows of `document_texts` brought as negatives, -1 where an example has fewer.
        group: class of each example; -1 where there are no classes.
        document_group: class of each document text; -1 where there are no classes.
        weight: of each example.
        target: grade of each example on the scale 0 to 1, only for graded pairs.
        catalogue: every step meets all documents, not only those of its batch (class prototypes).
        partners: the positive is drawn anew in every epoch among the texts of the same class (same-label pairs); a
            text of two classes has partners of the one in one of its examples, of the other in the other.
    """

    query_texts: list[str]
    document_texts: list[str]
    query_id: Int[Tensor, " texts"]
    document_id: Int[Tensor, " documents"]
    query: Int[Tensor, " n"]
    positive: Int[Tensor, " n"]
    negatives: Int[Tensor, "n k"]
    group: Int[Tensor, " n"]
    document_group: Int[Tensor, " documents"]
    weight: Float[Tensor, " n"]
    target: Float[Tensor, " n"] | None = None
    catalogue: bool = False
    partners: bool = False

    def __len__(self) -> int:
        return self.query.numel()


def examples(pairs: Pairs, *, prototypes: bool = True) -> Examples:
    """Training examples of a table.

    Args:
        pairs: rows of any kind. A collection's relevant judgements become pairs weighted by 1; a log's clicks become
            pairs weighted by their number, with what was passed over as negatives (`embedfit.data.clicks`).
        prototypes: classes only: true, documents are the labels; false, texts of the same class are each other's
            positives.

    Raises:
        DataError: nothing to learn from: fewer than two examples, one class, one distinct document, equal grades.
    """
    if len(pairs) < 2:
        raise DataError(
            f"{pairs.source} has {len(pairs)} row{'s' * (len(pairs) != 1)}; training needs at least 2 examples",
            hint="a few dozen are the least that teaches anything",
        )
    _refuse_empty(pairs)
    if pairs.kind == "classes":
        return _classes(pairs, prototypes=prototypes)
    if pairs.kind == "graded":
        return _graded(pairs)
    if pairs.kind == "collection":
        return _pairs(_judged(pairs), pairs.source)
    if pairs.kind == "clicks":
        return _pairs(as_pairs(pairs), pairs.source)
    return _pairs(pairs.table, pairs.source)


def _refuse_empty(pairs: Pairs) -> None:
    """Reading leaves no empty cell; rows that were put together by hand may have some, which teach nothing."""
    for column in COLUMNS[pairs.kind]:
        values = pairs.table[column]
        empty = values.is_null() | (values == "") if values.dtype == pl.String else values.is_null()
        if empty.any():
            raise DataError(
                f"{pairs.source}: the column '{column}' is empty in {empty.sum()} rows, "
                f"first in row {int(empty.arg_max() or 0) + 1}",
                hint="leave such rows out, or read them with embedfit.read, which names them",
            )


def _judged(pairs: Pairs) -> pl.DataFrame:
    assert pairs.corpus is not None
    relevant = pairs.table.filter(pl.col("relevance") > 0)
    return relevant.join(pairs.corpus, on="document_id", how="inner", maintain_order="left").select(
        "query", positive=pl.col("document")
    )


class _Numbering:
    """Distinct strings in order of appearance, as numbers."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.rows: dict[str, int] = {}

    def __call__(self, column: pl.Series) -> Int[np.ndarray, " n"]:
        out = np.empty(len(column), dtype=np.int64)
        for i, text in enumerate(column.to_list()):
            if text is None or text == "":
                out[i] = -1
                continue
            row = self.rows.setdefault(text, len(self.texts))
            if row == len(self.texts):
                self.texts.append(text)
            out[i] = row
        return out


def _identities(*lists: list[str]) -> list[Int[Tensor, " texts"]]:
    ids: dict[str, int] = {}
    return [torch.tensor([ids.setdefault(normalise(t), len(ids)) for t in texts], dtype=torch.long) for texts in lists]


def _weights(table: pl.DataFrame) -> Float[Tensor, " n"]:
    if "weight" not in table.columns:
        return torch.ones(table.height)
    weight = torch.from_numpy(table["weight"].cast(pl.Float32).to_numpy().copy())
    if not bool((weight >= 0).all()) or float(weight.sum()) <= 0:
        raise DataError("weights must be finite, not negative, and not all 0", hint="look at the column 'weight'")
    return weight


def _none(n: int) -> Int[Tensor, " n"]:
    return torch.full((n,), -1, dtype=torch.long)


def _pairs(table: pl.DataFrame, source: str) -> Examples:
    queries, documents = _Numbering(), _Numbering()
    query, positive = queries(table["query"]), documents(table["positive"])
    brought = [documents(table[c]) for c in table.columns if c.startswith("negative_")]
    query_id, document_id = _identities(queries.texts, documents.texts)
    if torch.unique(document_id).numel() < 2:
        raise DataError(
            f"all {table.height} rows of {source} have the same document; there is nothing to tell apart",
            hint="training needs at least 2 different documents",
        )
    n = table.height
    negatives = np.stack(brought, axis=1) if brought else np.empty((n, 0), dtype=np.int64)
    return Examples(
        query_texts=queries.texts,
        document_texts=documents.texts,
        query_id=query_id,
        document_id=document_id,
        query=torch.from_numpy(query),
        positive=torch.from_numpy(positive),
        negatives=torch.from_numpy(negatives),
        group=_none(n),
        document_group=_none(len(documents.texts)),
        weight=_weights(table),
    )


def _classes(pairs: Pairs, *, prototypes: bool) -> Examples:
    table = pairs.table
    texts, labels = _Numbering(), _Numbering()
    query, label = texts(table["text"]), labels(table["label"])
    if len(labels.texts) < 2:
        raise DataError(
            f"all {len(pairs)} rows of {pairs.source} have the label '{labels.texts[0]}'; "
            "there is nothing to tell apart",
            hint="training needs at least 2 classes",
        )
    (text_id,) = _identities(texts.texts)
    text, group = torch.from_numpy(query), torch.from_numpy(label)
    if prototypes:
        documents, positive, document_group = labels.texts, group, torch.arange(len(labels.texts))
        document_id = int(text_id.max()) + 1 + document_group
    else:
        place, positive = _members(text, group)
        documents, document_group = [texts.texts[i] for i in place[:, 0]], place[:, 1]
        document_id = text_id[place[:, 0]]
    return Examples(
        query_texts=texts.texts,
        document_texts=documents,
        query_id=text_id,
        document_id=document_id,
        query=text,
        positive=positive,
        negatives=torch.empty((len(pairs), 0), dtype=torch.long),
        group=group,
        document_group=document_group,
        weight=_weights(table),
        catalogue=prototypes,
        partners=not prototypes,
    )


def _members(text: Int[Tensor, " n"], group: Int[Tensor, " n"]) -> tuple[Int[Tensor, "m 2"], Int[Tensor, " n"]]:
    """Each text once in each of its classes, in order of appearance, and which of these an example is."""
    number: dict[tuple[int, int], int] = {}
    both = zip(text.tolist(), group.tolist(), strict=True)
    member = torch.tensor([number.setdefault(pair, len(number)) for pair in both], dtype=torch.long)
    return torch.tensor(list(number), dtype=torch.long), member


def _graded(pairs: Pairs) -> Examples:
    table = pairs.table
    texts = _Numbering()
    first, second = texts(table["sentence1"]), texts(table["sentence2"])
    (text_id,) = _identities(texts.texts)
    target = torch.from_numpy(table["score"].cast(pl.Float32).to_numpy().copy())
    if not bool(torch.isfinite(target).all()):
        raise DataError(f"{pairs.source} has scores that are no finite numbers", hint="read it with on_bad_rows='skip'")
    if float(target.max()) == float(target.min()):
        raise DataError(
            f"all {len(pairs)} scores of {pairs.source} are {float(target[0]):g}; there is nothing to order",
            hint="graded data needs at least 2 different scores",
        )
    n = len(pairs)
    return Examples(
        query_texts=texts.texts,
        document_texts=texts.texts,
        query_id=text_id,
        document_id=text_id,
        query=torch.from_numpy(first),
        positive=torch.from_numpy(second),
        negatives=torch.empty((n, 0), dtype=torch.long),
        group=_none(n),
        document_group=_none(len(texts.texts)),
        weight=_weights(table),
        target=(target - target.min()) / (target.max() - target.min()),
    )
