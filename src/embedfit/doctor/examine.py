"""Runs the checks over a run and sums them up."""

from __future__ import annotations

__all__ = ["diagnose"]

import dataclasses
import time
from collections.abc import Iterable

from embedfit.doctor.catalogue import CHECKS, select
from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome
from embedfit.doctor.diagnosis import Cost, Diagnosis, Verdict
from embedfit.doctor.glossary import GLOSSARY
from embedfit.doctor.readings import find, is_known, metric_key
from embedfit.run import Run


def diagnose(run: Run, codes: Iterable[str] = ()) -> Diagnosis:
    """Examine a run with every check, or with some; nothing is trained and nothing is changed.

    A check that crashes becomes a finding, a check without its readings says which one is missing.

    Args:
        run: the run.
        codes: codes, their beginnings ("LOS") or names of checks; the others are reported as skipped.

    Returns:
        Verdict and findings, every check exactly once, worst first.

    Raises:
        EmbedfitError: a code that fits no check.
    """
    began = time.perf_counter()
    asked = select(codes)
    findings = [examine(check, run) if check in asked else _skipped(check) for check in CHECKS]
    findings.sort(
        key=lambda finding: (finding.outcome.badness, finding.outcome is Outcome.WATCH and _advisory(finding))
    )  # stable: by code within
    verdict, why = _sum_up(run, findings)
    cost = Cost(seconds=time.perf_counter() - began)
    return Diagnosis(verdict=verdict, why=why, cost=cost, findings=tuple(findings), evidence=run)


def examine(check: Check, run: Run) -> Finding:
    """One check on one run; never raises."""
    began = time.perf_counter()
    missing = [name for name in check.needs if not is_known(run, name)]
    try:
        if missing:
            raise NotApplicableError(
                "; ".join(f"this run has no '{metric_key(n, run)}' ({GLOSSARY[n]})" for n in missing)
            )
        finding = check.examine(run)
    except NotApplicableError as reason:
        finding = check.finding(Outcome.NOT_APPLICABLE, str(reason))
    except Exception as error:  # one check's fault must not hide the findings of the others
        finding = check.finding(Outcome.FAILED, f"the check itself failed: {type(error).__name__}: {error}")
    return dataclasses.replace(finding, seconds=time.perf_counter() - began)


def _skipped(check: Check) -> Finding:
    return check.finding(Outcome.SKIPPED, "not asked for")


def _advisory(finding: Finding) -> bool:
    return next(check.advisory for check in CHECKS if check.code == finding.code)


def _sum_up(run: Run, findings: list[Finding]) -> tuple[Verdict, str]:
    """A fact convicts. A reading that puts the result in doubt, or a missing metric, leaves the verdict open."""
    issues = [f for f in findings if f.outcome is Outcome.ISSUE]
    if issues:
        return "ill", issues[0].symptom
    doubts = [f for f in findings if f.outcome is Outcome.WATCH and not _advisory(f)]
    if doubts:
        return "cannot-tell", f"{doubts[0].symptom}; a reading alone proves nothing"
    failed = [f for f in findings if f.outcome is Outcome.FAILED]
    if failed:
        return "cannot-tell", f"{failed[0].code} could not be run: {failed[0].symptom}"
    name, value = metric_key("<metric>", run), find(run, "<metric>")
    if value is None:
        return "cannot-tell", "there is no held-out metric, without which no run can be called healthy"
    skipped = sum(f.outcome is Outcome.SKIPPED for f in findings)
    if skipped:
        return "cannot-tell", f"nothing found by the checks that were asked for; {skipped} were not run"
    hints = sum(f.outcome is Outcome.WATCH for f in findings)
    rest = "and nothing speaks against it" if not hints else f"with {hints} thing{'s' * (hints > 1)} worth a look"
    return "healthy", f"{name} is {float(value):.3f} on held-out rows{_beside(run)}, {rest}"


def _beside(run: Run) -> str:
    lexical = find(run, "lexical/<metric>")
    return "" if lexical is None else f" (lexical baseline {float(lexical):.3f})"
