"""Foreign training loops in the plain style of tutorials, and public threads rebuilt as small programs.

Nothing here uses the worlds' common pieces: each file stands alone, with batches, modules and updates of its own kind.
"""

from __future__ import annotations

__all__ = ["LOOPS", "REAL", "Loop"]

from benchmarks.faults.loops import real, sampled_softmax, sbert_script, triplets
from benchmarks.faults.loops.loop import Loop

LOOPS: dict[str, Loop] = {
    loop.name: loop for module in (sbert_script, triplets, sampled_softmax) for loop in module.LOOPS
}
REAL: dict[str, Loop] = {loop.name: loop for loop in real.LOOPS}
