"""A program examined from end to end: facts, experiments, and a verdict that rests on them."""

from __future__ import annotations

__all__ = ["investigate"]

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from embedfit.doctor.battery import BREAKS, FINE, SLOWS, experiment, learned
from embedfit.doctor.catalogue import CHECKS
from embedfit.doctor.check import Effect, Finding, Outcome, Prescription
from embedfit.doctor.clock import Stopwatch
from embedfit.doctor.cure import CHANGES
from embedfit.doctor.diagnosis import Cost, Diagnosis, Verdict, seconds
from embedfit.doctor.examine import examine
from embedfit.doctor.frozen import Memory
from embedfit.doctor.further import further
from embedfit.doctor.lab import CONTROL, Lab
from embedfit.doctor.look import look
from embedfit.doctor.material import gather
from embedfit.doctor.program import Build
from embedfit.probes.loading import Loading
from embedfit.probes.start import odd_share
from embedfit.probes.state import same_random_numbers
from embedfit.run import History, Run

PART = {check.code: check.part for check in CHECKS}
GENERIC = {"LOS011", "OPT010", "MOD006", "DAT007", "MOD007", "NUM003", "MOD008", "NEG002", "MOD005"}
"""Findings that name a part and no cause; one that names the cause takes their place."""
KEPT = 0.02
"""Share of a checkpoint that may be missing from the model (a head that was replaced), or of weights that may stand
still."""
CROWDED = 0.1
"""Excess likeness of the rows of a batch that makes their order a fact and not only a part."""
INFERRED = {"PAI003", "EVA008", "GEO004"}
"""What is concluded from a run as a whole: a fact about the program, or a part of it, may be the reason for that."""
HALF_LEARNED = {"NEG007"}
"""What a program shows as well that could not learn for another reason: any hint helps it."""
RATES = {"OPT011", "OPT012", "OPT007", "OPT008", "OPT009"}
"""Findings on how fast the author's optimiser goes, which a longer run may make up for."""


def investigate(build: Build, budget: str | float | int = "60s") -> Diagnosis:
    """Find out why a training program does not converge, by facts and by short runs of it.

    The program is built afresh for every run; none that the caller holds is touched. Facts about its loss, its update
    and its rows come first; then the trusted reference (symmetric InfoNCE, AdamW, shuffled rows) is trained with one
    part of the author's program at a time. Only facts and experiments convict.

    Args:
        build: `build(seed=0)` gives the program, see `embedfit.doctor.program.Program`.
        budget: processor time to spend, such as "60s" or "5 min", or seconds; waiting counts an eighth.

    Returns:
        Verdict and findings, every check exactly once.

    Raises:
        EmbedfitError: a budget that cannot be read.
    """
    clock, allowed = Stopwatch(), seconds(budget)
    with same_random_numbers(0), Loading() as loading:
        program = build(seed=0)
    checkpoint = loading.into(program.model)
    lost = checkpoint.lost(program.model)
    with same_random_numbers(0):
        material = gather(program)
    if lost is not None and lost > KEPT:
        material = dataclasses.replace(material, checkpoint=checkpoint)
    with same_random_numbers(0):
        odd = 0.0 if lost is not None else odd_share(program.model)
    facts = look(build, material) | {"weights.lost": lost, "weights.odd": odd}
    lab = Lab.open(build, material, allowed, clock)
    facts |= experiment(lab, facts, suspects(facts))
    facts |= further(lab, facts)
    control = lab.trials[CONTROL, 0]
    facts |= remembered(lab.gauge.memory)
    facts["experiment.course"] = [[0, control.start], *map(list, control.course)]
    history = History()
    for step, (loss, rate) in enumerate(zip(control.losses, control.rates, strict=False), 1):
        history.add(step, {"loss": loss, "learning_rate": rate})
    run = Run(facts={k: v for k, v in facts.items() if v is not None}, history=history)
    findings = settled([examine(check, run) for check in CHECKS], facts)
    verdict, why = summed_up(findings, facts)
    cost = Cost(seconds=clock.seconds, steps=lab.taken)
    if "cached.modules" in facts:
        why = f"{why}; {_saving(facts)}"
    return Diagnosis(verdict=verdict, why=why, cost=cost, findings=tuple(findings), evidence=run)


def remembered(memory: Memory) -> dict[str, Any]:
    """What was not computed again of frozen modules; nothing where that saved no time."""
    if not memory.modules or memory.saved <= 0:
        return {}
    return {"cached.modules": sorted(memory.modules), "cached.share": memory.share, "cached.seconds": memory.saved}


def _saving(facts: Mapping[str, Any]) -> str:
    names = ", ".join(name or "the model" for name in facts["cached.modules"][:3])
    return (
        f"experiments ran on remembered outputs of what is frozen ({names}): {facts['cached.share']:.0%} of its rows "
        f"were not computed again, {facts['cached.seconds']:.1f} s saved"
    )


def suspects(facts: Mapping[str, Any]) -> set[str]:
    """Parts that the facts alone speak against."""
    run = Run(facts={k: v for k, v in facts.items() if v is not None})
    return {PART[f.code] for f in (examine(check, run) for check in CHECKS) if f.outcome in _BAD}


def settled(findings: Iterable[Finding], facts: Mapping[str, Any]) -> list[Finding]:
    """Findings confirmed or excluded by the experiment on their part, worst first."""
    given = list(findings)
    suspected = {PART[f.code] for f in given if f.outcome in _BAD and f.code not in GENERIC}
    judged = [_judged(f, facts, suspected) for f in given]
    if any(_cripples(f) for f in judged):
        judged = [dataclasses.replace(f, outcome=max(f.outcome, Outcome.WATCH, key=lambda o: o.badness))
                  if f.code in HALF_LEARNED else f for f in judged]  # fmt: skip
    return sorted(judged, key=lambda f: (f.outcome.badness, _weight(f)))


_BAD = (Outcome.ISSUE, Outcome.WATCH)


def _cripples(finding: Finding) -> bool:
    """Whether a cause that is named and confirmed, and none of the loss, breaks the program."""
    named = finding.outcome is Outcome.ISSUE and finding.confirmed and finding.code not in GENERIC
    return bool(named and PART[finding.code] != "loss" and finding.effect and finding.effect.relative <= -BREAKS)


def _judged(finding: Finding, facts: Mapping[str, Any], suspected: set[str]) -> Finding:
    part = PART[finding.code]
    relative = facts.get(f"experiment.{part}.relative")
    if finding.outcome not in _BAD or not part:
        return finding
    if part == "towers":
        return _towers(finding, facts)
    if relative is None and facts["experiment.control.relative"] > -SLOWS and learned(facts):
        words = f"{finding.symptom}; harmless here, the program as a whole keeps up with the reference"
        return dataclasses.replace(finding, outcome=Outcome.CLEAR, confirmed=False, symptom=words)
    if relative is None:
        # weights that stand still on purpose are usual; without a trial nobody knows whether these should
        meant = finding.code == "OPT004" and facts.get("parameters.forgotten", 0.0) <= KEPT
        return dataclasses.replace(finding, outcome=Outcome.WATCH) if meant else finding
    effect = Effect(relative=relative, low=facts[f"experiment.{part}.low"], high=facts[f"experiment.{part}.high"])
    if finding.code in GENERIC:
        if part in suspected and relative <= -SLOWS:
            return dataclasses.replace(
                finding, outcome=Outcome.CLEAR, symptom=f"{finding.symptom}; its cause is named by another check"
            )
        crowded = part == "order" and facts.get("order.crowding", 0.0) > CROWDED and relative <= -SLOWS
        proved = crowded or _breaks(relative, facts) or _hurts(effect, facts, SLOWS)
        outcome = Outcome.ISSUE if proved else Outcome.WATCH
        return dataclasses.replace(
            finding, outcome=outcome, prescription=_tried(finding, facts), effect=effect, confirmed=proved or None
        )
    if relative <= -SLOWS:
        # in a trial shorter than the run a higher rate is ahead of one that suits the run
        told = finding.code not in RATES or _to_the_end(facts)
        certain = finding.outcome is Outcome.ISSUE and finding.code not in RATES
        least = SLOWS if finding.code in RATES else FINE
        proved = certain or _breaks(relative, facts) or (told and _hurts(effect, facts, least))
        outcome = Outcome.ISSUE if proved else Outcome.WATCH
        return dataclasses.replace(
            finding, outcome=outcome, effect=effect, confirmed=True, prescription=_tried(finding, facts)
        )
    return dataclasses.replace(finding, outcome=Outcome.CLEAR, effect=effect, confirmed=False,
                               symptom=f"{finding.symptom}; harmless here ({relative:+.0%})")  # fmt: skip


def _hurts(effect: Effect, facts: Mapping[str, Any], least: float) -> bool:
    """Whether part and program both cost a tenth of the metric, and the part's interval ends below this."""
    whole = facts["experiment.control.relative"] <= -SLOWS and not facts.get("experiment.arrives")
    return whole and effect.relative <= -SLOWS and effect.high < -least


def _to_the_end(facts: Mapping[str, Any]) -> bool:
    """Whether the author's program was seen at the end of its run."""
    full = facts.get("experiment.author_in_full")
    return bool(facts.get("experiment.whole", True)) or (full is not None and math.isfinite(full))


def _breaks(relative: float, facts: Mapping[str, Any]) -> bool:
    """Whether an effect is large enough to convict without a fact; what is only slow at first does not count.

    Nor does a part whose program keeps up with the reference: that is held up by something else, such as the pairs.
    """
    if facts["experiment.control.relative"] > -SLOWS:
        return False
    if facts.get("experiment.whole", True):
        return relative <= -BREAKS
    full = facts.get("experiment.author_in_full")
    at_the_end = relative if full is None else full / max(1e-9, facts["experiment.reference"]) - 1
    return max(relative, at_the_end) <= -BREAKS


def _towers(finding: Finding, facts: Mapping[str, Any]) -> Finding:
    own, simple = facts.get("experiment.probe"), facts.get("experiment.towers")
    if simple is None or simple < 4 * facts["experiment.chance"]:
        return (
            finding if finding.code in GENERIC else dataclasses.replace(finding, outcome=Outcome.CLEAR, confirmed=False)
        )
    relative = own / simple - 1
    if relative > -BREAKS:
        return dataclasses.replace(finding, outcome=Outcome.CLEAR, confirmed=False)
    effect = Effect(relative=relative, low=relative - 0.1, high=min(0.0, relative + 0.1))
    return dataclasses.replace(
        finding, outcome=Outcome.ISSUE if relative < -2 * BREAKS else Outcome.WATCH, effect=effect, confirmed=True
    )


def _tried(finding: Finding, facts: Mapping[str, Any]) -> tuple[Prescription, ...]:
    """The prescription with the gain that was measured."""
    cured = facts.get("experiment.cured")
    if cured is None or not finding.prescription:
        return finding.prescription
    first, *rest = finding.prescription
    words = f"{first.why}; tried, {facts['experiment.steps']} steps: {facts['experiment.author']:.3f} -> {cured:.3f}"
    change = dict(CHANGES.get(PART[finding.code], first.change))
    if "optim.learning_rate" in change:
        change["optim.learning_rate"] = facts["experiment.reference_rate"]
    return (dataclasses.replace(first, why=words, change=change), *rest)


def _weight(finding: Finding) -> tuple[int, float]:
    """Causes that are named and confirmed, then other facts, then parts at large; what costs more comes first."""
    unnamed = finding.code in GENERIC or finding.code in RATES or finding.code in INFERRED
    rank = 2 if unnamed else 0 if finding.confirmed else 1
    return rank, finding.effect.relative if finding.effect else 0.0


def summed_up(findings: list[Finding], facts: Mapping[str, Any]) -> tuple[Verdict, str]:
    """The verdict in one sentence."""
    issues = [f for f in findings if f.outcome is Outcome.ISSUE]
    author, reference = facts["experiment.author"], facts["experiment.reference"]
    compared = f"{author:.3f} after {facts['experiment.steps']} steps, the trusted recipe {reference:.3f}"
    if issues:
        return "ill", f"{issues[0].symptom} ({compared})"
    if facts.get("experiment.arrives"):
        full = facts["experiment.author_in_full"]
        return "healthy", f"{compared}; slower at first, but in all its steps it reaches {full:.3f}: keep going"
    if math.isnan(reference):
        return (
            "cannot-tell",
            f"the trusted recipe does not run on this program ({facts['experiment.reference_broken']})",
        )
    if facts["experiment.control.relative"] > -BREAKS:
        if not learned(facts):
            steps = facts["experiment.steps"]
            return "cannot-tell", f"neither program nor reference learned anything in {steps} steps: I need more time"
        fallen = [f for f in findings if f.code == "EVA008" and f.outcome is Outcome.WATCH]
        return "healthy", f"{compared}; {f'but {fallen[0].symptom}' if fallen else 'keep going'}"
    return "cannot-tell", f"{compared}, and no part of it alone explains that: I need a larger budget"
