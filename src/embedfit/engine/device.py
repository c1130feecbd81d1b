"""Threads and precision of this machine."""

from __future__ import annotations

__all__ = ["precision_for", "threads_for"]

import os
import sys
from typing import Literal

import torch

from embedfit.engine.defaults import FamilyName


def threads_for(family: FamilyName) -> int:
    """Cores for transformers and recurrent towers; one thread for bags, whose steps are shorter than a thread's wake-up.

    The number follows from the machine alone and is stored in the run: sums over threads round differently, and a
    resumed run must add up as the first one did.
    """
    if family == "bag":
        return 1
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def precision_for(wanted: Literal["auto", "fp32", "bf16"], family: FamilyName) -> torch.dtype:
    """bf16 for transformers where the processor multiplies bf16 itself (twice as fast), else fp32.

    Scores, normalisation and loss are fp32 in any case.
    """
    if wanted == "auto":
        able = family in ("transformer", "pretrained") and torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if able else torch.float32
    return torch.bfloat16 if wanted == "bf16" else torch.float32
