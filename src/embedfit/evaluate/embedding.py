"""Encode each distinct text once, and check what comes back.

Axes: n texts, e dimensions of an embedding.
"""

from __future__ import annotations

__all__ = ["Encode", "embed", "embed_task", "unit_rows"]

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float

from embedfit.errors import ModelError
from embedfit.evaluate.tasks import Task

Encode = Callable[[list[str]], np.ndarray]
"""Texts to unit rows, float32 [n, e]."""


def embed(encode: Encode, texts: Sequence[str], what: str) -> Float[np.ndarray, "n e"]:
    """Embeddings of texts; equal texts get the same bits, whatever batch they would have fallen into.

    Raises:
        ModelError: the encoder gave another shape, NaN, infinity, or rows that are not of unit length.
    """
    number: dict[str, int] = {}
    back = [number.setdefault(text, len(number)) for text in texts]
    embedding = unit_rows(np.asarray(encode(list(number))), len(number), what)
    return embedding if len(number) == len(texts) else embedding[back]


def unit_rows(embedding: np.ndarray, count: int, what: str) -> Float[np.ndarray, "n e"]:
    """The embeddings as float32: one finite unit row per text, or zeros, which match nothing.

    Raises:
        ModelError: another shape, NaN, infinity, or rows of another length.
    """
    if embedding.ndim != 2 or embedding.shape[0] != count:
        raise ModelError(
            f"{what}: {count} texts went in, embeddings of shape {embedding.shape} came out",
            hint="an encoder gives one row [e] for each text, in the order of the texts",
        )
    embedding = np.ascontiguousarray(embedding, np.float32)
    # a row of zeros is length 0; one that is not finite has no length
    length = np.concatenate([np.linalg.norm(part, axis=1) for part in _parts(embedding)]) if count else np.empty(0)
    bad = np.flatnonzero(~np.isfinite(length))
    if bad.size:
        raise ModelError(
            f"{what}: {bad.size} of {count} embeddings are not finite, the first is number {bad[0]}",
            hint="look at the weights of the model, and at the loss of the last steps",
        )
    off = np.flatnonzero((np.abs(length - 1) > 1e-2) & (length > 0))
    if off.size:
        raise ModelError(
            f"{what}: expected unit rows, but {off.size} of {count} have another length "
            f"(number {off[0]}: {length[off[0]]:.3g})",
            hint="normalise embeddings before they are compared",
        )
    return embedding


def _parts(rows: Float[np.ndarray, "n e"], size: int = 1 << 16) -> Iterator[Float[np.ndarray, "m e"]]:
    """A part at a time, because the rows may be mapped from a file larger than memory."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def embed_task(
    encode_query: Encode, encode_document: Encode, task: Task
) -> tuple[Float[np.ndarray, "q e"], Float[np.ndarray, "k e"]]:
    """Embeddings of the queries and of the keys of a task, each key by the encoder of its side.

    Raises:
        ModelError: an encoder gave something other than finite unit rows, or the two sides differ in dimension.
    """
    query = embed(encode_query, task.queries, "queries")
    key = np.empty((0, 0), np.float32)
    for encode, side, what in ((encode_query, True, "known queries"), (encode_document, False, "documents")):
        rows = np.flatnonzero(task.phrased == side)
        if rows.size:
            embedding = embed(encode, [task.keys[i] for i in rows], what)
            if embedding.shape[1] != query.shape[1]:
                raise ModelError(
                    f"queries have {query.shape[1]} dimensions, {what} {embedding.shape[1]}",
                    hint="both encoders have to end in the same space",
                )
            if rows.size == len(task.keys):  # a corpus may be most of the memory: no copy of it
                return query, embedding
            key = key if key.size else np.empty((len(task.keys), query.shape[1]), np.float32)
            key[rows] = embedding
    return query, key
