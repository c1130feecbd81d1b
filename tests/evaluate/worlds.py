"""Small worlds whose right answers are known by construction."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from embedfit.pairs import Pairs


def pairs(*rows: tuple[str, str], **columns: list[str]) -> Pairs:
    query, positive = zip(*rows, strict=True)
    return Pairs(kind="pairs", table=pl.DataFrame({"query": query, "positive": positive, **columns}))


def classes(*rows: tuple[str, str], **columns: list[str]) -> Pairs:
    text, label = zip(*rows, strict=True)
    return Pairs(kind="classes", table=pl.DataFrame({"text": text, "label": label, **columns}))


def collection(judged: list[tuple[str, str, str, float]], corpus: Mapping[str, str]) -> Pairs:
    columns = ["query_id", "query", "document_id", "relevance"]
    documents = pl.DataFrame({"document_id": list(corpus), "document": list(corpus.values())})
    return Pairs(kind="collection", table=pl.DataFrame(judged, schema=columns, orient="row"), corpus=documents)


def graded(*rows: tuple[str, str, float]) -> Pairs:
    return Pairs(kind="graded", table=pl.DataFrame(rows, schema=["sentence1", "sentence2", "score"], orient="row"))


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def lookup(vectors: Mapping[str, list[float]]) -> Callable[[list[str]], np.ndarray]:
    """An encoder that knows these texts."""
    return lambda texts: unit(np.array([vectors[t] for t in texts], float))


def oracle(meaning: Callable[[str], str], dimension: int = 64) -> Callable[[list[str]], np.ndarray]:
    """An encoder that sees nothing but the meaning: equal meaning, equal vector; others are far from it."""

    def encode(texts: list[str]) -> np.ndarray:
        seeds = [[ord(c) for c in meaning(t)] for t in texts]
        return unit(np.array([np.random.default_rng(s).normal(size=dimension) for s in seeds]))

    return encode


def random_encoder(dimension: int = 64) -> Callable[[list[str]], np.ndarray]:
    """An encoder that gives every text a direction of its own."""
    return oracle(lambda text: text, dimension)
