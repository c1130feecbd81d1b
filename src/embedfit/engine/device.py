"""Threads and precision of this machine."""

from __future__ import annotations

__all__ = ["interruptible", "precision_for", "threaded", "threads_for"]

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Literal

import torch

from embedfit.engine.defaults import FamilyName


def threads_for(family: FamilyName) -> int:
    """Cores for transformers and recurrent towers; one thread for bags, whose steps are too short to share.

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


@contextlib.contextmanager
def threaded(count: int) -> Iterator[None]:
    """So many threads inside; the caller's number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C only raises a flag, so that a step can be finished and kept; the second one interrupts.

    Yields:
        Whether the flag is up. In a thread other than the main one signals cannot be caught: it never is.
    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
