"""The table of the benchmark, in Markdown."""

from __future__ import annotations

__all__ = ["Row", "markdown"]

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.faults.answers import Answer
from benchmarks.faults.baselines import RIVALS
from benchmarks.faults.cases import Case
from benchmarks.faults.harm import Outcome, drop
from benchmarks.faults.score import Judged, f1, frequent, judge, share

CLOSED = 0.8  # share of the gap that a prescription has to close
COST_SHARE, COST_SECONDS = 0.05, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One program, what the doctor said, and what the others said."""

    case: Case
    answer: Answer
    others: Mapping[str, list[list[str]]] = field(default_factory=dict)

    @property
    def judged(self) -> Judged:
        """The doctor's answer against the truth."""
        return judge(self.case.truth, self.answer)


def markdown(rows: Sequence[Row], table: Mapping[str, Outcome], command: str, planned: int) -> str:
    """Everything that is printed and kept."""
    halves = {
        "kept for testing": [r for r in rows if not r.case.calibration and r.case.world not in ("loop", "thread")],
        "foreign loops": [r for r in rows if r.case.world == "loop"],
        "public threads": [r for r in rows if r.case.world == "thread"],
        "calibration": [r for r in rows if r.case.calibration],
    }
    asked = f"{len(rows)} programs asked about; {planned} are planned, before those that do not count are left out."
    lines = [f"Printed by `{command}`. {asked} Shares with their 95 % Wilson intervals.", ""]
    for name, half in halves.items():
        if half:
            lines += [f"### {name.capitalize()}", "", *_scores(half, table), ""]
    lines += ["### Every kind of fault", "", *_kinds(rows), "", "### What was wrong", "", *_wrong(rows, table), ""]
    return "\n".join(lines)


def _scores(rows: Sequence[Row], table: Mapping[str, Outcome]) -> list[str]:
    healthy = [r for r in rows if not r.case.truth]
    one = [r for r in rows if len(r.case.truth) == 1]
    two = [r for r in rows if len(r.case.truth) == 2]
    lines = [
        "| who | component at first place | cause in the first three | F1 of pairs | false alarms |",
        "|---|---|---|---|---|",
    ]
    lines.append(
        f"| embedfit | {share(r.judged.top for r in one)} | {share(r.judged.cause for r in one)} | "
        f"{f1(r.judged for r in two):.2f} of {len(two)} | {share(r.judged.alarm for r in healthy)} |"
    )
    lines += [_rival(name, rows) for name in RIVALS]
    components, causes = frequent([r.case for r in one], 3)
    for component in components[:1]:
        top = share(component in r.case.truth[0].components for r in one)
        cause = share(r.case.truth[0].cause in causes for r in one)
        lines.append(
            f"| always {component}; the 3 most frequent causes | {top} | {cause} | | {share(True for _ in healthy)} |"
        )
    lines.append(f'| always "healthy" | {share(False for _ in one)} | | | {share(False for _ in healthy)} |')
    return [*lines, "", *_bill(rows, table)]


def _rival(name: str, rows: Sequence[Row]) -> str:
    given = [r for r in rows if name in r.others]
    one = [r for r in given if len(r.case.truth) == 1]
    top = share(bool(x) and bool(set(x[0]) & set(r.case.truth[0].components)) for r in one for x in [r.others[name]])
    alarms = share(bool(r.others[name]) for r in given if not r.case.truth)
    return f"| {name} | {top} | | | {alarms} |"


def _bill(rows: Sequence[Row], table: Mapping[str, Outcome]) -> list[str]:
    asked = [r for r in rows if r.answer.verdict != "failed"]
    if not asked:
        return ["The doctor failed on every program."]
    ratio = [r.answer.seconds / max(table[r.case.key].seconds, 1e-9) for r in asked if r.case.key in table]
    cures = [x for r in asked if len(r.case.truth) == 1 and (x := _closed(r, table)) is not None]
    tried = sum(r.answer.cured is not None for r in asked if len(r.case.truth) == 1)
    return [
        f"- prescriptions applied unattended to whole runs: {tried}; the gap closed by at least {CLOSED:.0%}: "
        f"{share(cures)} of all programs with one fault",
        f"- cost: median {median(r.answer.seconds for r in asked):.1f} processor seconds"
        + (f", {median(ratio):.0%} of the run itself" if ratio else "")
        + f"; within {COST_SHARE:.0%} of the run or {COST_SECONDS:.0f} s: "
        + str(share(r.answer.seconds <= COST_SECONDS for r in asked)),
        f"- nothing changed in the patient: {share(r.answer.untouched for r in asked)}",
        f"- failed: {sum(r.answer.verdict == 'failed' for r in rows)}; could not tell: "
        f"{sum(r.answer.verdict == 'cannot-tell' for r in rows)} of {len(rows)}",
    ]


def _closed(row: Row, table: Mapping[str, Outcome]) -> bool | None:
    """Whether the prescription gave back most of what the fault cost; no prescription gives nothing back."""
    sick, well = table.get(row.case.key), table.get(row.case.healthy.key)
    if sick is None or well is None:
        return None
    if row.answer.cured is None:
        return False
    return row.answer.cured - sick.metric >= CLOSED * (well.metric - sick.metric)


def _kinds(rows: Sequence[Row]) -> list[str]:
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if len(row.case.truth) == 1:
            kinds[row.case.loop or row.case.faults[0][0]].append(row)
    lines = ["| fault | programs | component | cause |", "|---|---|---|---|"]
    for name in sorted(kinds):
        given = [r.judged for r in kinds[name]]
        lines.append(f"| {name} | {len(given)} | {sum(j.top for j in given)} | {sum(j.cause for j in given)} |")
    return lines


def _wrong(rows: Sequence[Row], table: Mapping[str, Outcome]) -> list[str]:
    lines = []
    for row in rows:
        truth, judged = row.case.truth, row.judged
        if (not truth and judged.alarm) or (len(truth) == 1 and not judged.top) or row.answer.verdict == "failed":
            lost = drop(row.case, dict(table))
            said = (
                ", ".join(f"{c} {code}" for c, code in row.answer.named[: max(1, row.answer.issues)][:3]) or "nothing"
            )
            wanted = truth[0].components[0] if truth else "nothing"
            cost = "" if lost is None else f" (costs {lost:.0%})"
            lines.append(f"- {row.case.key}{cost}: {wanted} wanted; {row.answer.verdict}, {said}: {row.answer.why}")
    return lines or ["- nothing"]
