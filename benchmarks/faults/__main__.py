"""The benchmark of planted faults.

    python -m benchmarks.faults                             every case that counts, writes benchmarks/results/faults.*
    python -m benchmarks.faults --quick                     a handful of cases, prints, keeps nothing
    python -m benchmarks.faults --worlds faq/demo --sample 20 --minutes 30

Whether a fault hurts is measured first (`benchmarks.faults.harm`) and kept beside the table; a fault that does not hurt
and an oddity that does are no cases. Answers are kept as they come, so that the work can go on where it stopped:
`--again` asks anew.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults.answers import Answer, ask
from benchmarks.faults.baselines import rivals
from benchmarks.faults.cases import Case, every
from benchmarks.faults.harm import KEPT, Outcome, counts, kept, measure
from benchmarks.faults.table import Row, markdown
from benchmarks.faults.worlds import WORLDS

RESULTS = KEPT.parent
ANSWERS = RESULTS / "faults.json"
QUICK = (
    Case(world="vectors/digits", fine="nothing changed"),
    Case(world="vectors/digits", faults=(("reversed sign", 1),)),
)


def answers(path: Path = ANSWERS) -> dict[str, dict[str, Any]]:
    """What was said so far, by the key of the case."""
    found: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def run(cases: Iterable[Case], table: dict[str, Outcome], said: dict[str, dict[str, Any]], *, budget: str,
        until: float = math.inf, path: Path | None = None) -> list[Row]:  # fmt: skip
    """Ask about every case that counts; keep each answer at once."""
    rows, former = [], {key for key, value in said.items() if value["answer"]["verdict"] != "failed"}
    for case in cases:
        if not counts(case, table):
            continue
        if case.key not in former:
            if time.monotonic() > until:
                continue
            answer = ask(case, budget, cure=len(case.truth) == 1)
            others = rivals(case, table[case.key])
            said = {**(answers(path) if path else said), case.key: {"answer": asdict(answer), "others": others}}
            print(f"{case.key}: {answer.verdict} {answer.named[: answer.issues]} {answer.seconds} s", flush=True)
            if path is not None:
                fresh = path.with_suffix(".new")
                fresh.write_text(json.dumps(said, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
                fresh.replace(path)
        rows.append(_row(case, said[case.key]))
    return rows


def _row(case: Case, kept_answer: dict[str, Any]) -> Row:
    answer = dict(kept_answer["answer"])
    answer["named"] = [(component, code) for component, code in answer["named"]]
    return Row(case=case, answer=Answer(**answer), others=kept_answer["others"])


def main() -> None:
    """Parse, measure, ask, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--worlds", nargs="*", choices=[*WORLDS, "loop", "thread"])
    parser.add_argument("--levels", nargs="*", type=int, default=[], help="severities; by default one, in turn")
    parser.add_argument("--sample", type=int, help="so many cases, drawn at random but always the same")
    parser.add_argument("--minutes", type=float, default=math.inf, help="ask for no more than that")
    parser.add_argument("--budget", default="60s", help="of the doctor, in processor time")
    parser.add_argument("--measured", action="store_true", help="only cases that were measured already")
    parser.add_argument("--again", action="store_true", help="forget former answers on these cases")
    parser.add_argument("--quick", action="store_true", help="a handful of cases, nothing kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.quick:
        table = measure(QUICK, path=None)
        print(
            markdown(
                run(QUICK, table, {}, budget=arguments.budget), table, "python -m benchmarks.faults --quick", len(QUICK)
            )
        )
        return
    cases = every(arguments.worlds, levels=tuple(arguments.levels))
    if arguments.measured:
        cases = [case for case in cases if counts(case, kept()) is not None]
    if arguments.sample is not None:
        cases = random.Random(7).sample(cases, min(arguments.sample, len(cases)))
    until = time.monotonic() + 60 * arguments.minutes
    table = kept() if arguments.measured else measure(cases, minutes=arguments.minutes)
    said = answers()
    if arguments.again:
        said = {key: value for key, value in said.items() if key not in {case.key for case in cases}}
    rows = run(cases, table, said, budget=arguments.budget, until=until, path=ANSWERS)
    table = kept()
    said = answers() | {row.case.key: {"answer": asdict(row.answer), "others": row.others} for row in rows}
    asked = {case.key: case for case in [*every(), *every(levels=(0, 1, 2))] if case.key in said}
    everything = [_row(case, said[key]) for key, case in asked.items() if counts(case, table)]
    text = markdown(everything, table, "make bench-faults", len(every()))
    (RESULTS / "faults.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
