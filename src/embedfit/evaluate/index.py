"""A search index over embeddings: built, checked against its own documents, written, read, searched.

The index is FAISS's own: exact inner product of unit rows (cosine) unless another kind is asked for. A folder holds
`index.faiss`, `ids.parquet` (one id per row, in order) and `index.json`, which declares what the vectors are.

Axes: n documents, q queries, k results, e dimensions.
"""

from __future__ import annotations

__all__ = ["Index", "build", "check_rows", "export", "load", "save", "search", "self_check"]

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from embedfit.errors import DataError, ModelError
from embedfit.evaluate.embedding import unit_rows
from embedfit.run import write_atomically, write_json

if TYPE_CHECKING:
    import faiss

Kind = Literal["flat", "ivf", "hnsw"]
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Index:
    """Vectors that can be searched, and whose they are.

    Attributes:
        engine: the FAISS index; row i is document i.
        ids: name of each document.
        kind: flat (exact), ivf or hnsw (approximate).
        model: fingerprint of the model that made the vectors; queries must come from the same.
    """

    engine: faiss.Index
    ids: tuple[str, ...]
    kind: Kind
    model: str

    def metadata(self) -> dict[str, Any]:
        """What `index.json` declares."""
        return {
            "format": _FORMAT,
            "kind": self.kind,
            "metric": "inner product",
            "normalised": True,
            "dimension": self.engine.d,
            "documents": len(self.ids),
            "model": self.model,
        }


def build(
    embedding: Float[np.ndarray, "n e"], ids: Sequence[str], *, kind: Kind = "flat", model: str = "", seed: int = 0
) -> Index:
    """An index over unit rows.

    Args:
        embedding: one unit row per document.
        ids: their names, all different.
        kind: "flat" compares with every document. "ivf" looks into the nearest eighth of about 4 sqrt(n) clusters,
            "hnsw" walks a graph: for millions of documents, and no longer exact.
        model: fingerprint of the model.
        seed: of the clusters.

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
    engine: Any = _engine(kind, embedding.shape[1], len(ids), seed)
    if not engine.is_trained:
        engine.train(embedding)
    engine.add(embedding)
    if kind == "ivf":
        engine.make_direct_map()  # so that stored rows can be read back
    return Index(engine=engine, ids=tuple(ids), kind=kind, model=model)


def _engine(kind: Kind, dimension: int, documents: int, seed: int) -> faiss.Index:
    import faiss

    if kind == "flat":
        return faiss.IndexFlatIP(dimension)
    if kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dimension, 32, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction, graph.hnsw.efSearch = 200, 128
        return graph
    # k-means wants 39 points per cluster, FAISS says; fewer would be clusters of noise
    clusters = max(1, min(int(4 * documents**0.5), documents // 39))
    inverted = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, clusters, faiss.METRIC_INNER_PRODUCT)
    inverted.cp.seed, inverted.cp.spherical = seed + 1, True
    inverted.nprobe = max(1, clusters // 8)
    return inverted


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
    if query.shape[1] != index.engine.d:
        raise ModelError(
            f"queries have {query.shape[1]} dimensions, the index {index.engine.d}",
            hint="encode queries with the model the index was built with",
        )
    scores, rows = index.engine.search(query, max(1, min(k, len(index.ids))))
    scores[rows < 0] = -np.inf
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def self_check(
    index: Index,
    embedding: Float[np.ndarray, "n e"],
    *,
    sample: int = 1_000,
    tolerance: float = 1e-3,
    at_least: float = 1.0,
    seed: int = 0,
) -> dict[str, int]:
    """Every document must find itself, at rank 1 with cosine 1; its exact duplicates count as itself.

    Embeddings encoded afresh (not those the index was built from) also reveal a mixed-up order, another model, or
    another normalisation.

    Args:
        index: what is checked.
        embedding: one unit row per document, in the order of the index.
        sample: how many documents are tried.
        tolerance: how far below 1 the cosine may lie (reduced precision of the encoder).
        at_least: share that must pass; below 1 only for approximate kinds.
        seed: of the sample.

    Returns:
        `checked`, and `duplicates`: how many of them found an exact duplicate instead.

    Raises:
        ModelError: too many do not find themselves; names the first.
    """
    if len(embedding) != len(index.ids):
        raise ModelError(
            f"the index holds {len(index.ids)} documents, {len(embedding)} embeddings were given",
            hint="give the embeddings of the documents that were indexed, in the same order",
        )
    rows = check_rows(len(index.ids), sample=sample, seed=seed)
    own_row = embedding[rows].astype(np.float32)
    scores, found = search(index, own_row, 1)
    stored = np.stack([index.engine.reconstruct(int(row)) for row in rows])
    own = np.einsum("ne,ne->n", own_row, stored, dtype=np.float64)
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
    return {"checked": int(rows.size), "duplicates": int(twin.sum())}


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
        faiss.write_index(index.engine, str(part))
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
    return Index(engine=engine, ids=ids, kind=said["kind"], model=said["model"])


def export(
    embedding: Float[np.ndarray, "n e"], path: Path, *, columns: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Write embeddings, float32, in the order of the rows.

    Args:
        embedding: what is written.
        path: ends in `.npy` (the matrix alone) or `.parquet` (a column `embedding` beside the given ones).
        columns: columns of n texts each, for example ids; Parquet only.

    Raises:
        DataError: another ending, or columns where the format has none.
        RunError: the disk is full or not writable.
    """
    embedding = np.ascontiguousarray(embedding, np.float32)
    if path.suffix == ".npy" and not columns:
        with write_atomically(path) as part, part.open("wb") as file:
            np.save(file, embedding, allow_pickle=False)
    elif path.suffix == ".parquet":
        vectors = pl.Series("embedding", embedding, dtype=pl.Array(pl.Float32, embedding.shape[1]))
        table = pl.DataFrame({name: list(values) for name, values in (columns or {}).items()}).with_columns(vectors)
        with write_atomically(path) as part:
            table.write_parquet(part)
    else:
        given = f"'{path.suffix}'" + (" with columns" if columns else "")
        raise DataError(f"embeddings are written to .npy or .parquet, got {given}", hint="columns need .parquet")
