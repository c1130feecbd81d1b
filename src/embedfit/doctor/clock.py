"""A clock for budgets: work counts, waiting for a busy machine hardly does."""

from __future__ import annotations

__all__ = ["Stopwatch"]

import time

PATIENCE = 8.0
"""A run that mostly waits (for rows, for other programs) may take so many times its budget."""


class Stopwatch:
    """Seconds of work since it was made: processor time of this thread, or an eighth of the clock's if that is more.

    On a machine with nothing else to do both the budget and the clock agree; on a busy one, arms are as long as ever.
    """

    def __init__(self) -> None:
        self._work, self._clock = time.thread_time(), time.perf_counter()

    @property
    def seconds(self) -> float:
        """So far."""
        return max(time.thread_time() - self._work, (time.perf_counter() - self._clock) / PATIENCE)
