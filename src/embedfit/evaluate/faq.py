"""Scores of candidates known by several texts: a standard question by all its phrasings, a class by its rows.

How the phrasings' scores become one was settled by measurement (accuracy@1 on unseen rows, MiniLM embeddings as they
come, all known rows; covid_q: half of each cluster known):

| how      | what                                            | banking77 | clinc150 | hwu64 | covid_q |
|----------|-------------------------------------------------|-----------|----------|-------|---------|
| blend    | mean of max and centroid                        | .916      | .925     | .893  | .667    |
| max      | the best phrasing                               | .921      | .880     | .842  | .634    |
| centroid | the mean direction of all phrasings             | .849      | .917     | .860  | .651    |
| top2     | mean of the best two phrasings                  | .927      | .898     | .863  | .590    |

Over 20 settings (these, stackfaq, a second embedding space, 2 to 20 known rows per class) `blend` is within half a
point of the best in 15 and never 2.6 points behind; centroid, top2 and max are within half a point in 8, 5 and 1.

Class prototypes that training has learned ("anchored") are better than any of these, and a little better still together
with the nearest known phrasing: docs/defaults.md has the table.

Axes: q queries, b queries of a block, c candidates, k keys, n rows mixed from keys, e dimensions of an embedding.
"""

from __future__ import annotations

__all__ = ["How", "Scorer", "centroids", "entries", "scorer"]

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    from scipy import sparse

    Matrix: TypeAlias = np.ndarray | sparse.csr_matrix
else:
    Matrix = Any  # scipy is not imported for a type

How = Literal["blend", "max", "centroid", "top2", "anchored"]
Scorer = Callable[[Int[np.ndarray, " b"]], Float[np.ndarray, "b c"]]
"""Scores of some queries (by number) against all candidates, in a matrix of the caller's own."""


def scorer(query: Matrix, key: Matrix, owner: Int[np.ndarray, " k"], how: How = "blend") -> Scorer:
    """Cosine of queries and candidates.

    Args:
        query: unit rows [q, e], dense or sparse.
        key: unit rows [k, e] of the same kind.
        owner: candidate of each key, ascending from 0 without gaps.
        how: how several keys of a candidate become one score; no matter where each has one.
    """
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    if starts.size == owner.size:
        return _product(query, key)
    if how == "centroid":
        return _product(query, centroids(key, owner))
    each = _product(query, key)
    if how == "anchored":
        return lambda rows: _anchored(each(rows), starts)
    if how == "max":
        return lambda rows: np.maximum.reduceat(each(rows), starts, axis=1)
    if how == "top2":
        return lambda rows: _best_two(each(rows), starts)
    middle = _product(query, centroids(key, owner))
    return lambda rows: (np.maximum.reduceat(each(rows), starts, axis=1) + middle(rows)) / 2


def entries(
    key: Float[np.ndarray, "k e"], owner: Int[np.ndarray, " k"], how: How = "blend"
) -> tuple[Float[np.ndarray, "n e"], Int[np.ndarray, " n"]]:
    """The keys, mixed beforehand: the score of a candidate is its largest inner product with any of these rows.

    So every way of `scorer` becomes a plain search for the nearest rows, which an index can do.

    Args:
        key: unit rows.
        owner: candidate of each key, ascending from 0 without gaps.
        how: how several keys of a candidate become one score.

    Returns:
        Rows, not of unit length, and the candidate of each, ascending. For "top2" one row per two keys of a candidate.
    """
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    if starts.size == owner.size or how == "max":
        return key, owner
    if how == "centroid":
        return centroids(key, owner), np.arange(starts.size)
    if how == "blend":
        return (key + centroids(key, owner)[owner]) / 2, owner
    sizes = np.diff(starts, append=owner.size)
    if how == "anchored":
        alone = (sizes == 1)[owner]
        other = alone | (np.arange(owner.size) != starts[owner])
        return np.where(alone[:, None], key, (2 * key[starts[owner]] + key) / 3)[other], owner[other]
    two = [
        pair
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)
        for pair in (combinations(range(start, start + size), 2) if size > 1 else [(start, start)])
    ]
    left, right = np.array(two).T
    return (key[left] + key[right]) / 2, owner[left]


def _anchored(scores: Float[np.ndarray, "b k"], starts: Int[np.ndarray, " c"]) -> Float[np.ndarray, "b c"]:
    """Two thirds the first key of each candidate, its prototype, and one third the best of the others."""
    first = scores[:, starts]
    sizes = np.diff(starts, append=scores.shape[1])
    others = scores.copy()
    others[:, starts] = -np.inf
    best = np.maximum.reduceat(others, starts, axis=1)
    return np.where(sizes > 1, (2 * first + best) / 3, first)


def centroids(key: Matrix, owner: Int[np.ndarray, " k"]) -> Matrix:
    """Mean direction of the keys of each candidate, unit rows [c, e]; zero where they cancel."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    if isinstance(key, np.ndarray):
        total = np.add.reduceat(key, starts, axis=0, dtype=np.float64)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return (total / np.where(length > 0, length, 1)).astype(key.dtype)
    from scipy import sparse
    from sklearn.preprocessing import normalize

    member = sparse.csr_matrix((np.ones(owner.size), (owner, np.arange(owner.size))))
    return normalize(member @ key)


def _product(query: Matrix, key: Matrix) -> Scorer:
    if not isinstance(key, np.ndarray):
        turned = key.T.tocsc()
        return lambda rows: (query[rows] @ turned).toarray()
    # Equal rows must score equally, to the last bit; a matrix product does not promise that of two columns
    distinct, back = _distinct_rows(key)
    if distinct.shape[0] == key.shape[0]:
        return lambda rows: query[rows] @ key.T
    return lambda rows: (query[rows] @ distinct.T)[:, back]


def _distinct_rows(x: Float[np.ndarray, "k e"]) -> tuple[Float[np.ndarray, "u e"], Int[np.ndarray, " k"]]:
    """Rows that differ in any bit (0 and -0 do not), and which of them each row is."""
    if not x.shape[1]:
        return x[:1], np.zeros(x.shape[0], np.int64)
    _, first, back = np.unique(_keys(x), return_index=True, return_inverse=True)
    if first.size == x.shape[0]:  # as nearly always: no copy of what may be most of the memory
        return x, np.arange(x.shape[0])
    distinct = x[first] + 0.0
    assert all((distinct[back[part]] == x[part]).all() for part in _parts(x))  # else two rows share a key
    return distinct, back


def _keys(x: Float[np.ndarray, "k e"]) -> Int[np.ndarray, " k"]:
    """A 64-bit number for each row, which equal rows share and others do not but by a chance of 2^-64."""
    bits = np.dtype(f"i{x.dtype.itemsize}")
    odd = np.random.default_rng(0).integers(-(2**62), 2**62, size=(x.shape[1],)) * 2 + 1
    out = np.empty(x.shape[0], np.int64)
    for part in _parts(x):
        # mixed before and after the sum: rows that differ in few bits must not meet
        mixed = (np.ascontiguousarray(x[part] + 0.0).view(bits).astype(np.int64) + odd) * odd
        out[part] = ((mixed ^ (mixed >> 29)) * odd[::-1]).sum(axis=1)
    return out


def _parts(x: Float[np.ndarray, "k e"]) -> Iterator[slice]:
    return (slice(start, start + 4096) for start in range(0, x.shape[0], 4096))


def _best_two(scores: Float[np.ndarray, "b k"], starts: Int[np.ndarray, " c"]) -> Float[np.ndarray, "b c"]:
    sizes = np.diff(starts, append=scores.shape[1])
    best = np.maximum.reduceat(scores, starts, axis=1)
    place = np.where(scores == np.repeat(best, sizes, axis=1), np.arange(scores.shape[1]), scores.shape[1])
    scores = scores.copy()
    np.put_along_axis(scores, np.minimum.reduceat(place, starts, axis=1), -np.inf, axis=1)
    second = np.maximum.reduceat(scores, starts, axis=1)
    return np.where(sizes > 1, (best + second) / 2, best)
