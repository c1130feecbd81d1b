"""An index over more rows than every query can be compared with: its kind follows from their number, its recall is
measured.

| kind | compares with                                           | holds, per row of e numbers   |
|------|---------------------------------------------------------|-------------------------------|
| flat | every row: exact                                        | 4 e bytes                     |
| ivf  | the rows of the nearest clusters                        | 4 e bytes                     |
| pq   | codes of the same, then the best whole rows             | about e / 4 bytes; rows apart |
| hnsw | the rows met on a walk along a graph of near rows       | 4 e + 260 bytes               |

How far an approximate kind looks is doubled until it finds what exact search finds of a sample; the recall it is then
said to have is that on another sample.

Sources: Johnson et al. 2017, "Billion-scale similarity search with GPUs", https://arxiv.org/abs/1702.08734 (ivf);
Jegou et al. 2011, "Product quantization for nearest neighbor search", doi 10.1109/TPAMI.2010.57 (pq); Malkov and
Yashunin 2016, https://arxiv.org/abs/1603.09320 (hnsw).

Axes: n rows, q queries, s queries of a sample, m rows fetched, k results, e dimensions.
"""

from __future__ import annotations

__all__ = ["AT", "Kind", "Neighbours", "index", "kind_for"]

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int

from embedfit.neighbours.exact import products, top_k

if TYPE_CHECKING:
    import faiss

Kind = Literal["flat", "ivf", "pq", "hnsw"]

EXACT = 200_000
"""Rows up to which every query is compared with all: a dozen milliseconds for a query alone, a tenth of that for one
among a thousand, for which exact search is as quick as an approximate one up to millions of rows."""
WHOLE = 4 * 2**30
"""Bytes of rows beyond which an index keeps codes instead."""
AT = 10
"""The recall that is measured is that of so many nearest rows."""
WANTED = 0.97
"""Recall at which an approximate index stops looking further."""

_SAMPLE = 256  # queries that decide how far to look, and as many that measure
_BLOCK = 1 << 16  # rows added at a time
_PER_CLUSTER = 39  # rows that k-means wants for each, FAISS says; fewer would be clusters of noise
_WORDS = 256  # of a code
_GAIN = 0.002  # recall; where looking twice as far brings less, looking further is no help


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbours:
    """Rows whose nearest can be looked up.

    Attributes:
        engine: the FAISS index; number i is row i.
        kind: flat (exact), ivf, pq or hnsw (approximate).
        recall: share of the ten nearest rows that are found, on a sample; 1 for flat.
        rows: the rows themselves, perhaps mapped from a file: what was found is ordered by exact scores. None: by those
            of the engine, which are exact but for rounding except with pq.
    """

    engine: faiss.Index
    kind: Kind
    recall: float
    rows: Float[np.ndarray, "n e"] | None = None

    def search(
        self, query: Float[np.ndarray, "q e"], k: int
    ) -> tuple[Float[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
        """The rows with the largest inner product, best first; equal ones in their own order.

        Args:
            query: finite rows.
            k: how many; at most all there are.

        Returns:
            Inner products and row numbers. An approximate index may find fewer: number -1, product -inf.
        """
        k = max(1, min(k, self.engine.ntotal))
        fetched = k if self.rows is None else min(self.engine.ntotal, 4 * k + 64)
        scores, found = self.engine.search(np.ascontiguousarray(query, np.float32), fetched)
        if self.rows is not None:
            scores = products(query, self.rows, np.maximum(found, 0))
        scores[found < 0] = -np.inf
        order = np.lexsort((found, -scores), axis=1)[:, :k]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(found, order, axis=1)

    def stored(self, numbers: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m e"]:
        """The rows of these numbers."""
        if self.rows is not None:
            return self.rows[numbers]
        return np.stack([self.engine.reconstruct(int(number)) for number in numbers])

    def reach(self) -> str:
        """How far it looks, in words."""
        engine: Any = self.engine
        match self.kind:
            case "flat":
                return "every row"
            case "hnsw":
                return f"the best {engine.hnsw.efSearch:,} rows of a walk along a graph"
        return f"{engine.nprobe:,} of {engine.nlist:,} clusters"


def kind_for(count: int, dimension: int) -> Kind:
    """The kind of index for so many rows of so many numbers."""
    if count <= EXACT:
        return "flat"
    return "ivf" if 4 * count * dimension <= WHOLE else "pq"


def index(
    rows: Float[np.ndarray, "n e"],
    *,
    kind: Kind | Literal["auto"] = "auto",
    questions: Float[np.ndarray, "q e"] | None = None,
    wanted: float = WANTED,
    seed: int = 0,
) -> Neighbours:
    """An index over rows, which may be mapped from a file: they are read a part at a time.

    Args:
        rows: finite rows, at least one.
        kind: of the index; "auto" follows from the size. In place of "pq", "ivf" where there are below 10,000 rows.
        questions: what recall is measured with; by default some of the rows, each without itself.
        wanted: recall at which an approximate index stops looking further.
        seed: of clusters and samples.
    """
    if kind == "auto":
        kind = kind_for(*rows.shape)
    if kind == "pq" and len(rows) < _PER_CLUSTER * _WORDS:
        kind = "ivf"  # too few to learn the words of a code from, and small as they are
    engine: Any = _engine(kind, *rows.shape, seed=seed)
    draw = np.random.default_rng(seed)
    if not engine.is_trained:
        learned = np.sort(draw.choice(len(rows), min(len(rows), _learned(engine)), replace=False))
        engine.train(np.ascontiguousarray(rows[learned], np.float32))
    for start in range(0, len(rows), _BLOCK):
        engine.add(np.ascontiguousarray(rows[start : start + _BLOCK], np.float32))
    if kind == "ivf":
        engine.make_direct_map()  # so that rows can be read back
    made = Neighbours(engine=engine, kind=kind, recall=1.0, rows=rows if kind == "pq" else None)
    if kind == "flat":
        return made
    deciding, measuring = _samples(rows, questions, draw)
    _look_further(made, deciding, wanted)
    return Neighbours(engine=engine, kind=kind, recall=_recall(made, measuring), rows=made.rows)


def _engine(kind: Kind, count: int, dimension: int, *, seed: int) -> faiss.Index:
    import faiss

    if kind == "flat":
        return faiss.IndexFlatIP(dimension)
    if kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dimension, 32, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction, graph.hnsw.efSearch = 200, 32
        return graph
    clusters = max(1, min(int(4 * count**0.5), count // _PER_CLUSTER))
    middle = faiss.IndexFlatIP(dimension)
    inverted: Any
    if kind == "ivf":
        inverted = faiss.IndexIVFFlat(middle, dimension, clusters, faiss.METRIC_INNER_PRODUCT)
    else:
        parts = next(p for p in range(max(1, dimension // 4), 0, -1) if dimension % p == 0)
        inverted = faiss.IndexIVFPQ(middle, dimension, clusters, parts, 8, faiss.METRIC_INNER_PRODUCT)
        inverted.pq.cp.seed = seed + 1
    inverted.cp.seed, inverted.cp.spherical = seed + 1, True
    inverted.nprobe = max(1, clusters // 128)
    return inverted


def _learned(engine: Any) -> int:
    """Rows that clusters and codes are learned from."""
    return _PER_CLUSTER * max(engine.nlist, _WORDS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sample:
    """Queries whose nearest rows are known.

    Attributes:
        query: the queries.
        own: the row that each query is, not counted among its nearest; -1 for none.
        rows: what is searched.
        bar: score of the last of the true nearest.
        k: how many of them there are.
    """

    query: Float[np.ndarray, "s e"]
    own: Int[np.ndarray, " s"]
    rows: Float[np.ndarray, "n e"]
    bar: Float[np.ndarray, " s"]
    k: int


def _samples(
    rows: Float[np.ndarray, "n e"], questions: Float[np.ndarray, "q e"] | None, draw: np.random.Generator
) -> tuple[_Sample, _Sample]:
    """Two samples without a query in common, where there are two queries."""
    source = rows if questions is None else questions
    chosen = draw.permutation(len(source))[: 2 * _SAMPLE]
    k = max(1, min(AT, len(rows) - 1))
    query = np.ascontiguousarray(source[chosen], np.float32)
    own = chosen if questions is None else np.full(chosen.size, -1)
    scores, found = top_k(query, rows, k + 1)
    bar = _others(scores, found, own, k)[:, -1]
    half = slice(None, max(1, chosen.size // 2)), slice(chosen.size // 2, None)
    first, second = (_Sample(query=query[h], own=own[h], rows=rows, bar=bar[h], k=k) for h in half)
    return first, second


def _others(
    scores: Float[np.ndarray, "s m"], found: Int[np.ndarray, "s m"], own: Int[np.ndarray, " s"], k: int
) -> Float[np.ndarray, "s k"]:
    """Scores of the best k that are not the query itself."""
    place = np.argsort(found == own[:, None], axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, place, axis=1)


def _recall(made: Neighbours, sample: _Sample) -> float:
    """Share of the true nearest that are found; of rows that score the same, any will do."""
    _, found = made.search(sample.query, sample.k + 1)
    scores = products(sample.query, sample.rows, np.maximum(found, 0))  # the same bits as those of the bar
    scores[found < 0] = -np.inf
    return float((_others(scores, found, sample.own, sample.k) >= sample.bar[:, None]).mean())


def _look_further(made: Neighbours, sample: _Sample, wanted: float) -> None:
    """Double how far the index looks, until it finds enough or looking further is no help."""
    engine: Any = made.engine
    before = -1.0
    while (now := _recall(made, sample)) < wanted and now > before + _GAIN:
        before = now
        if made.kind == "hnsw":
            engine.hnsw.efSearch *= 2
        elif engine.nprobe < engine.nlist:
            engine.nprobe = min(engine.nlist, 2 * engine.nprobe)
        else:
            return
