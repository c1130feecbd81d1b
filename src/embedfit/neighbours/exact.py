"""Exact nearest neighbours by inner product, through FAISS, in bounded memory and in an order that can be relied on.

FAISS multiplies in float32, where the last bits depend on the kernel, the number of threads and the place of a row.
So a few more rows are fetched than were asked for, their products are summed again in float64, row by row in the same
order, and sorted; where rounding could have hidden a row, all of them are looked at. Equal rows score equally to the
last bit.

Axes: q queries, b queries of a block, d documents (rows), m rows fetched, k results, e dimensions.
"""

from __future__ import annotations

__all__ = ["products", "top_k", "top_owners"]

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Bool, Float, Int

Found = tuple[Float[np.ndarray, "b k"], Int[np.ndarray, "b k"]]

_MORE = 6  # rows fetched beyond k
_LEAST, _MOST = 1 << 10, 1 << 12  # queries of a block: below the first FAISS takes its slow path
_CELLS = 1 << 22  # of one float64 temporary: 32 MiB


def top_k(
    query: Float[np.ndarray, "q e"], document: Float[np.ndarray, "d e"], k: int
) -> tuple[Float[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
    """The documents with the largest inner product, best first; equal ones in the order of the rows.

    Args:
        query: finite rows, of any length.
        document: finite rows, of any length.
        k: how many; at most all there are.

    Returns:
        Inner products, summed in float64 and rounded to float32, and row numbers.
    """
    import faiss

    query, document = (np.ascontiguousarray(x, np.float32) for x in (query, document))
    k = min(k, len(document))
    if not len(query) or k < 1:
        return np.empty((len(query), k), np.float32), np.empty((len(query), k), np.int64)
    longest = float(np.sqrt(np.einsum("de,de->d", document, document).max()))
    threads = faiss.omp_get_max_threads()
    size = min(_MOST, max(_LEAST, -(-len(query) // threads)))
    blocks = [query[start : start + size] for start in range(0, len(query), size)]
    # One FAISS call per thread of ours, each with one OpenMP thread: FAISS and torch bring an OpenMP runtime each,
    # whose idle threads spin and take the processor from one another. The setting holds for the calling thread only.
    with ThreadPoolExecutor(min(threads, len(blocks)), initializer=faiss.omp_set_num_threads, initargs=(1,)) as pool:
        found = list(pool.map(lambda block: _top_of_block(block, document, k, longest), blocks))
    return np.concatenate([scores for scores, _ in found]), np.concatenate([rows for _, rows in found])


def top_owners(
    query: Float[np.ndarray, "q e"], row: Float[np.ndarray, "d e"], owner: Int[np.ndarray, " d"], k: int
) -> tuple[Float[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
    """The owners whose best row has the largest inner product, best first; equal ones in their own order.

    Args:
        query: finite rows.
        row: finite rows.
        owner: owner of each row, ascending from 0 without gaps.
        k: how many; at most all there are.

    Returns:
        As `top_k`, owners in place of rows.
    """
    k = min(k, int(owner[-1]) + 1 if owner.size else 0)
    return _top_owners(query, row, owner, k, k)


def _top_owners(
    query: Float[np.ndarray, "q e"], row: Float[np.ndarray, "d e"], owner: Int[np.ndarray, " d"], k: int, fetched: int
) -> Found:
    """Fetch so many rows, and more of them for the queries whose rows have too few owners."""
    scores, rows = top_k(query, row, fetched)
    owners = owner[rows]
    new = _first_of_each(owners)
    place = np.argsort(~new, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, place, axis=1), np.take_along_axis(owners, place, axis=1)
    short = np.flatnonzero(new.sum(axis=1) < k)
    more = min(4 * fetched, len(row))
    step = max(1, _CELLS // max(1, more))
    for start in range(0, short.size, step):
        some = short[start : start + step]
        best[0][some], best[1][some] = _top_owners(query[some], row, owner, k, more)
    return best


def _first_of_each(owners: Int[np.ndarray, "b m"]) -> Bool[np.ndarray, "b m"]:
    """Where an owner stands for the first time in its row."""
    order = np.argsort(owners, axis=1, kind="stable")
    line = np.take_along_axis(owners, order, axis=1)
    new = np.ones(owners.shape, bool)
    np.put_along_axis(new, order[:, 1:], line[:, 1:] != line[:, :-1], axis=1)
    return new


def _top_of_block(query: Float[np.ndarray, "b e"], document: Float[np.ndarray, "d e"], k: int, longest: float) -> Found:
    import faiss

    fetched = min(k + _MORE, len(document))
    rough, rows = faiss.knn(query, document, fetched, metric=faiss.METRIC_INNER_PRODUCT)
    scores, rows = _in_order(products(query, document, rows), rows, k)
    if fetched < len(document):
        slack = _rounding(query, longest)
        hidden = np.flatnonzero(rough[:, -1] + slack >= scores[:, -1])
        for i in hidden.tolist():
            scores[i], rows[i] = _top_of_all(query[i : i + 1], document, k, float(slack[i]))
    return scores, rows


def _rounding(query: Float[np.ndarray, "b e"], longest: float) -> Float[np.ndarray, " b"]:
    """How far a float32 product may lie from the true one: e + 1 half units in the last place, and as much again.

    Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, equation 3.5.
    """
    unit = (query.shape[1] + 1) * np.finfo(np.float32).eps
    return np.linalg.norm(query.astype(np.float64), axis=1) * (longest * unit)


def _top_of_all(query: Float[np.ndarray, "1 e"], document: Float[np.ndarray, "d e"], k: int, slack: float) -> Found:
    """One query against every document: those that rounding cannot tell from the k-th best are compared exactly."""
    rough = document @ query[0]
    bar = np.partition(rough, -k)[-k] - 2 * slack
    rows = np.flatnonzero(rough >= bar)[None]
    return _in_order(products(query, document, rows), rows, k)


def products(
    query: Float[np.ndarray, "b e"], document: Float[np.ndarray, "d e"], rows: Int[np.ndarray, "b m"]
) -> Float[np.ndarray, "b m"]:
    """Inner products of each query with some rows; a row gives the same bits wherever it stands.

    A matrix product would not: its kernels treat the edges of a matrix otherwise than the middle.
    """
    out = np.empty(rows.shape, np.float32)
    dimensions = max(1, query.shape[1])
    wide = min(rows.shape[1], max(1, _CELLS // dimensions))
    high = max(1, _CELLS // (dimensions * wide))
    for top in range(0, len(query), high):
        some = query[top : top + high, None].astype(np.float64)
        for left in range(0, rows.shape[1], wide):
            part = slice(top, top + high), slice(left, left + wide)
            out[part] = (document[rows[part]] * some).sum(axis=2)
    return out


def _in_order(scores: Float[np.ndarray, "b m"], rows: Int[np.ndarray, "b m"], k: int) -> Found:
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
