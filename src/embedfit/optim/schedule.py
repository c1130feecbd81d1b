"""Step to learning-rate factor."""

from __future__ import annotations

__all__ = ["factor"]

import math
from typing import Literal


def factor(step: int, *, total: int, warmup: int, kind: Literal["cosine", "linear", "constant"]) -> float:
    """Learning-rate factor of a step in [0, 1]: a linear rise over `warmup` steps, then the fall to 0 at `total`.

    Args:
        step: the step about to be taken, counted from 0.
        total: steps of the whole run.
        warmup: steps of the rise; the first step already moves.
        kind: cosine | linear | constant after the rise.

    References:
        Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, eq. 5 (one cycle, minimum 0).
    """
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    if kind == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return 1 - done if kind == "linear" else 1.0
