from __future__ import annotations

import time

from embedfit.doctor.clock import PATIENCE, Stopwatch


def test_work_counts_and_waiting_counts_an_eighth():
    watch = Stopwatch()
    time.sleep(0.4)
    waited = watch.seconds
    assert waited < 0.2
    assert waited >= 0.4 / PATIENCE
    began = time.thread_time()
    while time.thread_time() - began < 0.3:
        pass
    assert watch.seconds >= 0.3
