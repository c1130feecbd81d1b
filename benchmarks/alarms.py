"""False alarms of each check, from the answers of the benchmark of planted faults.

    python -m benchmarks.alarms      reads benchmarks/results/faults.json, writes src/embedfit/doctor/alarms.json

The pages of the checks print what is written there; programs that limits were set on do not count. Run it after the
benchmark, with the checks that the benchmark was run with. A check counts as asked where all it needs can be known of a
program; checks of run folders (audits, a lexical baseline) are not asked by it and have no entry.
"""

from __future__ import annotations

__all__ = ["table"]

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.faults.__main__ import ANSWERS, answers
from benchmarks.faults.cases import Case, every
from benchmarks.faults.harm import Outcome, counts, kept
from embedfit.doctor import CHECKS
from embedfit.doctor.alarms import MEASURED

OF_PROGRAMS = (
    "trace.", "demand.", "parameters.", "optimiser.", "update.", "mode.", "start.", "pairing.", "inputs.", "rows.",
    "order.", "weights.", "evaluation.", "experiment.",
)  # fmt: skip
ALSO = {"loss", "learning_rate", "loss.floor", "loss.chance", "chosen.temperature", "chosen.candidates"}


def table(cases: Iterable[Case], said: Mapping[str, Any], harm: Mapping[str, Outcome]) -> dict[str, Any]:
    """Healthy programs kept for testing that were asked about, and the issues called on them."""
    healthy = [c for c in cases if not c.truth and not c.calibration and counts(c, dict(harm))]
    given = [said[c.key]["answer"] for c in healthy if c.key in said]
    given = [a for a in given if a["verdict"] != "failed"]
    codes = Counter(code for a in given for code in {code for _, code in a["named"][: a["issues"]]})
    asked = [c.code for c in CHECKS if all(n in ALSO or n.startswith(OF_PROGRAMS) for n in c.needs)] if given else []
    return {"healthy": len(given), "asked": asked, "false": dict(sorted(codes.items()))}


if __name__ == "__main__":
    measured = table(every(), answers(ANSWERS), kept())
    MEASURED.write_text(json.dumps(measured, indent=1) + "\n", "utf-8")
    print(f"{measured['healthy']} healthy programs, issues: {measured['false']}")
