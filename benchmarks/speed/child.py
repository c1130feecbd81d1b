"""The process of one contestant: `python -m benchmarks.speed.child MODULE:FUNCTION ARGUMENTS THREADS`."""

from __future__ import annotations

__all__ = ["Clock", "answer", "peak_mb"]

import contextlib
import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import MARK

SMALLEST_MB = 0.1  # less is not told apart from what any Python code takes, and a ratio to nothing says nothing


def peak_mb() -> float:
    """Peak memory of this process since its start, or since `Clock.start` where the system lets it be set back."""
    with contextlib.suppress(
        OSError, StopIteration
    ):  # getrusage remembers what was there before exec, which is not ours
        status = Path("/proc/self/status").read_text("ascii").splitlines()
        return int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024


def resident_mb() -> float:
    """Memory this process holds now; its peak where the system does not tell."""
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * resource.getpagesize() / (1 << 20)
    return peak_mb()


class Clock:
    """Wall time, CPU time and peak memory between `start` and `stop`; time between `pause` and `resume` is left out."""

    def __init__(self) -> None:
        self.wall = self.cpu = self.held = self.before = 0.0

    def start(self) -> None:
        """From here on it counts."""
        self.before = peak_mb()
        with contextlib.suppress(OSError):  # Linux: the peak of what came before must not hide ours
            Path("/proc/self/clear_refs").write_text("5", "ascii")
        self.held = resident_mb()
        self.wall, self.cpu = -time.perf_counter(), -time.process_time()

    def pause(self) -> None:
        """What follows does not count."""
        self.wall += time.perf_counter()
        self.cpu += time.process_time()

    def resume(self) -> None:
        """It counts again."""
        self.wall -= time.perf_counter()
        self.cpu -= time.process_time()

    def elapsed(self) -> float:
        """Wall time so far, while it counts."""
        return self.wall + time.perf_counter()

    def stop(self, work: float, **facts: Any) -> dict[str, Any]:
        """The reading, as `measure.Reading` has it.

        Args:
            work: what was done in that time, in any unit.
            **facts: what else is worth knowing.
        """
        self.pause()
        peak = peak_mb()
        return {
            "wall": self.wall,
            "cpu": self.cpu,
            "work": work,
            "extra_mb": max(SMALLEST_MB, peak - self.held),
            "peak_mb": max(peak, self.before),
            "facts": facts,
        }


def answer(target: str, arguments: str, threads: int) -> dict[str, Any]:
    """The reading of the function `module:function` with these arguments, in JSON."""
    import torch

    torch.set_num_threads(threads)
    module, _, function = target.partition(":")
    act = getattr(importlib.import_module(f"benchmarks.speed.{module}"), function)
    return act(**json.loads(arguments))


def main(target: str, arguments: str, threads: str) -> None:
    """Call a function and print its reading."""
    print(MARK + json.dumps(answer(target, arguments, int(threads))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
