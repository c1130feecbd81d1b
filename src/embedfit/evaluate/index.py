"""A search index over embeddings: built, checked against its own documents, written, read, searched.

The index is FAISS's own, inner product of unit rows (cosine): exact up to 200,000 documents, beyond that one that looks
at a part of them, with a measured recall. A folder holds `index.faiss`, `ids.parquet` (one id per row, in order) and
`index.json`, which declares what the vectors are; where the index keeps codes, `rows.npy` holds the whole vectors.

Axes: n documents, q queries, k results, e dimensions.
"""

from __future__ import annotations

__all__ = ["Index", "build", "check_rows", "load", "save", "search", "self_check"]

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from embedfit.errors import DataError, ModelError
from embedfit.evaluate.embedding import unit_rows
from embedfit.neighbours import Kind, Neighbours
from embedfit.neighbours import index as index_rows
from embedfit.neighbours.indexing import AT
from embedfit.run import write_atomically, write_json

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Index:
    """Vectors that can be searched, and whose they are.

    Attributes:
        vectors: row i is document i.
        ids: name of each document.
        model: fingerprint of the model that made the vectors; queries must come from the same.
    """

    vectors: Neighbours
    ids: tuple[str, ...]
    model: str

    @property
    def dimension(self) -> int:
        """Size of a vector."""
        return int(self.vectors.engine.d)

    def __str__(self) -> str:
        made = self.vectors
        if made.kind == "flat":
            return f"{len(self.ids):,} documents, exact inner product"
        return (
            f"{len(self.ids):,} documents, {made.kind}, looks at {made.reach()}; recall@{AT} {made.recall:.3f} against "
            "exact search, measured on a sample"
        )

    def metadata(self) -> dict[str, Any]:
        """What `index.json` declares."""
        return {
            "format": _FORMAT,
            "kind": self.vectors.kind,
            f"recall@{AT}": self.vectors.recall,
            "metric": "inner product",
            "normalised": True,
            "dimension": self.dimension,
            "documents": len(self.ids),
            "model": self.model,
        }


def build(
    embedding: Float[np.ndarray, "n e"],
    ids: Sequence[str],
    *,
    kind: Kind | Literal["auto"] = "auto",
    questions: Float[np.ndarray, "q e"] | None = None,
    model: str = "",
    seed: int = 0,
) -> Index:
    """An index over unit rows, which may be mapped from a file.

    Args:
        embedding: one unit row per document.
        ids: their names, all different.
        kind: "flat" compares with every document. "ivf" looks into the nearest clusters, "pq" into the same and keeps
            codes in memory, "hnsw" walks a graph: for millions of documents, and no longer exact. "auto" follows from
            the size: see `embedfit.neighbours`.
        questions: unit rows of real queries, to measure the recall of an approximate index with; by default some of
            the documents.
        model: fingerprint of the model.
        seed: of clusters and samples.

    Raises:
        DataError: nothing to index, or ids that are missing or double.
        ModelError: rows that are not finite or not of unit length.
    """
    embedding = unit_rows(embedding, len(ids), "documents")
    if not len(ids):
        raise DataError("there are no documents to index", hint="give at least one document")
    if len(set(ids)) < len(ids):
        double = Counter(ids).most_common(1)[0][0]
        raise DataError(
            f"{len(ids) - len(set(ids))} document ids occur more than once, for example '{double}'",
            hint="give every document an id of its own, and each document once",
        )
    return Index(vectors=index_rows(embedding, kind=kind, questions=questions, seed=seed), ids=tuple(ids), model=model)


def search(
    index: Index, query: Float[np.ndarray, "q e"], k: int = 10
) -> tuple[Float[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
    """The nearest documents of each query.

    Args:
        index: where to look.
        query: unit rows.
        k: how many; at most all there are.

    Returns:
        Cosines, descending, and rows of the index (`index.ids[row]`); equal cosines in the order of the rows. An
        approximate index may find fewer: row -1, cosine -inf.

    Raises:
        ModelError: the queries have another dimension, or are no unit rows.
    """
    query = unit_rows(query, len(query), "queries")
    if query.shape[1] != index.dimension:
        raise ModelError(
            f"queries have {query.shape[1]} dimensions, the index {index.dimension}",
            hint="encode queries with the model the index was built with",
        )
    return index.vectors.search(query, k)


def self_check(
    index: Index,
    embedding: Float[np.ndarray, "n e"],
    rows: Int[np.ndarray, " n"] | None = None,
    *,
    tolerance: float = 1e-3,
    at_least: float | None = None,
) -> dict[str, int]:
    """Every document must find itself, at rank 1 with cosine 1; its exact duplicates count as itself.

    Embeddings encoded afresh (not those the index was built from) also reveal a mixed-up order, another model, or
    another normalisation.

    Args:
        index: what is checked.
        embedding: one unit row per document that is tried.
        rows: which these are, for example `check_rows(...)`; by default all, in the order of the index.
        tolerance: how far below 1 the cosine may lie (reduced precision of the encoder).
        at_least: share that must pass; by default all, and of an approximate index 9 in 10.

    Returns:
        `checked`; `duplicates`: how many of them found an exact duplicate instead; `missed`: how many found neither.

    Raises:
        ModelError: too many do not find themselves; names the first.
    """
    rows = np.arange(len(index.ids)) if rows is None else rows
    if len(embedding) != len(rows):
        raise ModelError(
            f"{len(rows)} documents of the index are tried, {len(embedding)} embeddings were given",
            hint="give the embeddings of the documents that were indexed, in the same order",
        )
    at_least = (1.0 if index.vectors.kind == "flat" else 0.9) if at_least is None else at_least
    own_row = embedding.astype(np.float32)
    scores, found = search(index, own_row, 1)
    own = np.einsum("ne,ne->n", own_row, index.vectors.stored(rows), dtype=np.float64)
    itself = found[:, 0] == rows
    twin = ~itself & (np.abs(scores[:, 0] - own) <= 1e-6)  # both are 1 but for rounding
    passed = (itself | twin) & (own >= 1 - tolerance)
    if passed.mean() < at_least:
        i = int(np.flatnonzero(~passed)[0])
        other = index.ids[found[i, 0]] if found[i, 0] >= 0 else "nothing"
        raise ModelError(
            f"{int((~passed).sum())} of {rows.size} documents do not find themselves in the index: "
            f"'{index.ids[rows[i]]}' finds '{other}' at {scores[i, 0]:.4f} and itself at {own[i]:.4f}",
            hint="build the index again from this model and these documents, in this order",
        )
    return {"checked": int(rows.size), "duplicates": int(twin.sum()), "missed": int((~passed).sum())}


def check_rows(documents: int, *, sample: int = 1_000, seed: int = 0) -> Int[np.ndarray, " sample"]:
    """The rows that `self_check` tries: only these need to be encoded afresh."""
    return np.sort(np.random.default_rng(seed).choice(documents, min(sample, documents), replace=False))


def save(index: Index, folder: Path) -> None:
    """Write an index folder; the declaration last, so that a half-written folder is not taken for an index.

    Raises:
        RunError: the disk is full or not writable.
    """
    import faiss

    with write_atomically(folder / "index.faiss") as part:
        faiss.write_index(index.vectors.engine, str(part))
    if index.vectors.rows is not None:
        with write_atomically(folder / "rows.npy") as part, part.open("wb") as file:
            np.save(file, index.vectors.rows)
    with write_atomically(folder / "ids.parquet") as part:
        pl.DataFrame({"id": list(index.ids)}).write_parquet(part)
    write_json(folder / "index.json", index.metadata())


def load(folder: Path, *, model: str | None = None) -> Index:
    """Read an index folder.

    Args:
        folder: where it lies.
        model: fingerprint of the model that will encode the queries; None: not compared.

    Raises:
        ModelError: there is none, it is broken or incomplete, or another model made it.
    """
    import faiss

    try:
        said: Mapping[str, Any] = json.loads((folder / "index.json").read_text("utf-8"))
        engine = faiss.read_index(str(folder / "index.faiss"))
        ids = tuple(pl.read_parquet(folder / "ids.parquet")["id"].to_list())
        rows = np.load(folder / "rows.npy", mmap_mode="r") if said.get("kind") == "pq" else None
    except (OSError, RuntimeError, ValueError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        hint = "build it again with `embedfit encode`"
        raise ModelError(f"no readable index in '{folder}': {reason}", hint=hint) from None
    declared = (said.get("format"), said.get("dimension"), said.get("documents"), said.get("documents"))
    if declared != (_FORMAT, engine.d, engine.ntotal, len(ids)):
        raise ModelError(
            f"the index in '{folder}' contradicts itself: declared {said.get('documents')} x {said.get('dimension')}, "
            f"found {engine.ntotal} x {engine.d} and {len(ids)} ids",
            hint="build it again with `embedfit encode`",
        )
    if model is not None and said["model"] != model:
        raise ModelError(
            f"the index in '{folder}' was built by model '{said['model']}', queries come from '{model}'",
            hint="search with that model, or build the index again",
        )
    recall = float(said.get(f"recall@{AT}", 1.0))  # a folder of an older version does not say it
    return Index(
        vectors=Neighbours(engine=engine, kind=said["kind"], recall=recall, rows=rows), ids=ids, model=said["model"]
    )
