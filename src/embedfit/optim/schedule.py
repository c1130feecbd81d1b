"""Step to learning-rate factor."""

from __future__ import annotations

__all__ = ["Schedule", "factor"]

import math
from typing import Literal

Schedule = Literal["cosine", "linear", "constant", "step", "cyclic", "one_cycle", "plateau", "wsd"]

STEPS, FALL = 3, 0.1  # "step": falls to a tenth at each third of what follows the warmup
CYCLES, LOWEST = 4, 0.1  # "cyclic": so many triangles between the rate and a tenth of it
RISE, FIRST = 0.3, 0.04  # "one_cycle": share of the run that the rise takes, and where it starts
STABLE = 0.8  # "wsd": share of what follows the warmup that stays at the top
CUT = 0.3  # "plateau": the rate after evaluations without a better metric, as a share of that before


def factor(step: int, *, total: int, warmup: int, kind: Schedule, cuts: int = 0) -> float:
    """Learning-rate factor of a step in [0, 1]: a linear rise over `warmup` steps, and what the schedule says after it.

    Args:
        step: the step about to be taken, counted from 0.
        total: steps of the whole run.
        warmup: steps of the rise; the first step already moves. One-cycle has a rise of its own, over 30 % of the run.
        kind: cosine and linear fall to 0 at `total`; step falls to a tenth at each third; cyclic rises and falls
            four times; wsd stays at the top for four fifths and then falls linearly; plateau falls with `cuts`.
        cuts: times that the held-out metric has stood still so far, for plateau.

    References:
        Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, eq. 5 (one cycle, minimum 0); Smith 2017
        (cyclic), https://arxiv.org/abs/1506.01186; Smith and Topin 2018 (one cycle),
        https://arxiv.org/abs/1708.07120; Hu et al. 2024 (warmup, stable, decay), https://arxiv.org/abs/2404.06395.
    """
    if kind == "one_cycle":
        return _one_cycle(step / max(1, total - 1))
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    match kind:
        case "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        case "linear":
            return 1 - done
        case "step":
            return FALL ** min(STEPS - 1, int(done * STEPS))
        case "cyclic":  # begins at the top, where the warmup ends
            return LOWEST + (1 - LOWEST) * abs(1 - 2 * (done * CYCLES % 1))
        case "wsd":
            return min(1.0, (1 - done) / (1 - STABLE))
        case "plateau":
            return CUT**cuts
        case "constant":
            return 1.0


def _one_cycle(done: float) -> float:
    """Two halves of a cosine: up over the first part, down to 0 over the rest."""
    if done < RISE:
        return FIRST + (1 - FIRST) * (1 - math.cos(math.pi * done / RISE)) / 2
    return (1 + math.cos(math.pi * min(1.0, (done - RISE) / (1 - RISE)))) / 2
