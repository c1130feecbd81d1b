"""What a planted fault costs: whole runs of the spoiled program and of the healthy one, measured once and kept.

python -m benchmarks.faults.harm --worlds faq/demo --levels 1 --minutes 10
"""

from __future__ import annotations

__all__ = ["HURTS", "Outcome", "drop", "kept", "measure", "train"]

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults.cases import Case, every
from benchmarks.faults.plant.fine import FINE
from benchmarks.faults.worlds import WORLDS
from embedfit.doctor.program import Program, Updates

KEPT = Path(__file__).parents[1] / "results" / "faults.harm.json"
HURTS = 0.10  # a fault counts from here on, relative to the healthy run of the same seed
READINGS = 40  # of the loss curve that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A whole run.

    Attributes:
        metric: held out, at the end.
        first: held out, before the first step.
        seconds: of processor time.
        losses: means over equal stretches of the run.
    """

    metric: float
    first: float
    seconds: float
    losses: list[float]


def train(program: Any, watch: Callable[[Program, float], None] | None = None) -> Outcome:
    """Run a program to its end, as its author would."""
    first, losses, began = program.evaluate(), [], time.process_time()
    while len(losses) < program.steps:
        for batch in program.batches:
            loss = program.train_step(batch)["loss"]
            if isinstance(program, Updates):
                program.update(loss)
            else:
                program.optimizer.zero_grad()
                loss.backward()
                program.optimizer.step()
            losses.append(float(loss.detach()))
            if watch is not None:
                watch(program, losses[-1])
            if len(losses) >= program.steps:
                break
    seconds = time.process_time() - began
    width = math.ceil(len(losses) / READINGS)
    means = [sum(losses[i : i + width]) / len(losses[i : i + width]) for i in range(0, len(losses), width)]
    return Outcome(
        metric=round(program.evaluate(), 4),
        first=round(first, 4),
        seconds=round(seconds, 2),
        losses=[float(f"{x:.4g}") for x in means],
    )


def kept(path: Path = KEPT) -> dict[str, Outcome]:
    """What was measured so far, by the key of the case."""
    if not path.is_file():
        return {}
    return {key: Outcome(**row) for key, row in json.loads(path.read_text("utf-8")).items()}


def drop(case: Case, table: dict[str, Outcome]) -> float | None:
    """What the case loses of the healthy metric, as a share; None if one of the two was not measured."""
    mine, healthy = table.get(case.key), table.get(case.healthy.key)
    return None if mine is None or healthy is None else 1 - mine.metric / healthy.metric


def counts(case: Case, table: dict[str, Outcome]) -> bool | None:
    """Whether the case is what it is meant to be: a fault that hurts, or an oddity that does not."""
    lost = drop(case, table)
    if lost is None:
        return None
    if case.fine and FINE[case.fine].honest:
        return True
    if not case.truth:
        return lost < HURTS
    if len(case.truth) == 1:
        return lost >= HURTS
    alone = [drop(one, table) for one in case.alone]
    return None if None in alone else all(x >= HURTS for x in alone if x is not None)


def measure(cases: Iterable[Case], *, minutes: float = math.inf, path: Path | None = KEPT) -> dict[str, Outcome]:
    """Run what was not run yet, until the time is up; every result is kept at once, if there is a path."""
    table, until = kept(path) if path else {}, time.monotonic() + 60 * minutes
    for case in cases:
        for wanted in (case.healthy, *case.alone, case):
            if wanted.key in table or time.monotonic() > until:
                continue
            torch.manual_seed(0)
            outcome = train(wanted.build()())
            table = {**(kept(path) if path else table), wanted.key: outcome}
            if path:
                _write(table, path)
            lost = drop(wanted, table)
            print(
                f"{wanted.key:70} {outcome.metric:.3f} {'' if lost is None else f'{lost:+.0%}'} {outcome.seconds} s",
                flush=True,
            )
    return table


def _write(table: dict[str, Outcome], path: Path) -> None:
    lines = [f"{json.dumps(key)}: {json.dumps(asdict(table[key]))}" for key in sorted(table)]
    fresh = path.with_suffix(".new")
    fresh.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    fresh.replace(path)


def main() -> None:
    """Parse, run, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--worlds", nargs="*", choices=[*WORLDS, "loop", "thread"])
    parser.add_argument("--levels", nargs="*", type=int, default=[], help="severities; by default one, in turn")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--minutes", type=float, default=math.inf)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases = every(arguments.worlds, levels=tuple(arguments.levels), seed=arguments.seed)
    measure(cases, minutes=arguments.minutes)


if __name__ == "__main__":
    main()
