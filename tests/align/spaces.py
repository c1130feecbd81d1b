"""Small spaces whose relation is known."""

from __future__ import annotations

import numpy as np

from embedfit.data.vectors import Matched


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def noise(n: int, e: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, e)).astype(np.float32)


def turned(n: int = 400, e: int = 12, off: float = 0.05, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows, and the same turned, with a little noise."""
    x = unit(noise(n, e, seed))
    turn = np.linalg.qr(noise(e, e, seed + 1))[0]
    return x, unit(x @ turn + off * noise(n, e, seed + 2) / np.sqrt(e))


def pairs(source: np.ndarray, target: np.ndarray) -> Matched:
    rows = np.arange(len(source))
    names = tuple(f"row {i}" for i in rows)
    return Matched(source=source, target=target, names=names, rows=rows, source_rows=len(rows))
