"""What this machine offers: device, memory, threads, precision; and how a user interrupts it."""

from __future__ import annotations

__all__ = ["device_for", "interruptible", "memory_for", "precision_for", "threaded", "threads_for"]

import contextlib
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Literal

import psutil
import torch

from embedfit.engine.defaults import FamilyName
from embedfit.errors import RecipeError


def device_for(wanted: str) -> torch.device:
    """Where towers and scores are worked out.

    Raises:
        RecipeError: there is no such device.
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RecipeError(f"run.device is '{wanted}', and torch sees no GPU", hint='set run.device = "auto"')
    device = torch.device("cuda" if wanted == "auto" else wanted)
    number = torch.cuda.current_device() if device.index is None else device.index
    if number >= torch.cuda.device_count():
        raise RecipeError(
            f"run.device is '{wanted}', and torch sees {torch.cuda.device_count()} GPU(s)",
            hint='set run.device = "auto"',
        )
    return torch.device("cuda", number)


def memory_for(wanted: float | Literal["auto"], device: torch.device) -> float:
    """Bytes that activations may take: what is asked for, or half of what is free now.

    The other half is for gradients, the optimiser and whatever else runs on this machine.
    """
    if wanted != "auto":
        return wanted * 1e9
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2
    return min(psutil.virtual_memory().available, _container_room()) / 2 / processes_here()


def _container_room(root: Path = Path("/sys/fs/cgroup")) -> float:
    """What a container's memory limit leaves; the machine's own figures do not know of it."""
    try:
        limit, used = (int((root / name).read_text()) for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no container, no limit ("max")
        return math.inf
    cache = int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0))  # given back when it is wanted
    return max(0, limit - used + cache)


def processes_here() -> int:
    """Processes of this run on this machine, as torchrun and its like tell them."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def threads_for(family: FamilyName) -> int:
    """Cores for transformers and recurrent towers; one thread for bags, whose steps are too short to share.

    The number follows from the machine alone and is stored in the run: sums over threads round differently, and a
    resumed run must add up as the first one did.
    """
    if family == "bag":
        return 1
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, cores // processes_here())


def precision_for(
    wanted: Literal["auto", "fp32", "bf16"], family: FamilyName, device: torch.device | None = None
) -> torch.dtype:
    """bf16 for transformers where the processor multiplies bf16 itself (twice as fast), else fp32.

    Scores, normalisation and loss are fp32 in any case.
    """
    if wanted == "auto":
        on_gpu = device is not None and device.type == "cuda"
        able = torch.cuda.is_bf16_supported() if on_gpu else torch.cpu._is_avx512_bf16_supported()
        able = able and family in ("transformer", "pretrained")
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
