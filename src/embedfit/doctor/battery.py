"""The experiments, in the order in which they are worth their time; each adds facts for the checks."""

from __future__ import annotations

__all__ = ["BREAKS", "FINE", "SLOWS", "experiment", "learned"]

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from typing import Any

from embedfit.doctor.arms import PARTS, Arm
from embedfit.doctor.dealt import dealt_out
from embedfit.doctor.gauge import Gauge, chance
from embedfit.doctor.kin import exchanged
from embedfit.doctor.lab import CONTROL, Lab
from embedfit.doctor.program import Program
from embedfit.doctor.reference import ReferenceProgram

Facts = dict[str, Any]
SIDES = ("query", "document")
FINE, SLOWS, BREAKS = 0.05, 0.10, 0.25
"""Bands of a change of the held-out metric."""
LIFTED = 0.6
"""A reference that reaches this rank metric has shown that there is something to learn: no rival towers are needed."""


def experiment(lab: Lab, facts: Mapping[str, Any], suspects: Collection[str] = ()) -> Facts:
    """Control and reference, the reference with one part of the author's at a time, and what is needed to name a cause.

    Args:
        lab: with its budget.
        facts: what was seen before.
        suspects: parts that the facts speak against; they are exchanged first.
    """
    lab.idle = idle(facts)
    control = lab.run(CONTROL)
    rate = facts.get("optimiser.rate") if "Adam" in str(facts.get("optimiser.name")) else None
    probe = lab.material.probe
    if probe is None or control.probe_start > 3 * chance(probe.rows):
        # towers that know something before training are not drawn anew
        lab.idle |= {"weights"} if lab.material.checkpoint is None else set()
    lab.choose_rate(rate)
    harmless: Facts = {}
    if "weights" not in lab.idle:
        effect = lab.effect(lab.knocked_in("weights"), lab.gold, [0])
        if not effect.relative <= -SLOWS:
            harmless = {f"experiment.weights.{k}": v for k, v in asdict(effect).items() if not math.isnan(v)}
            lab.idle |= {"weights"}
            lab.choose_rate(rate)
    gold = lab.run(lab.gold)
    found: Facts = {
        "experiment.author": control.metric,
        "experiment.author_broken": control.broken,
        "experiment.reference": gold.metric,
        "experiment.reference_broken": gold.broken,
        "experiment.start": control.start,
        "experiment.probe": gold.probe,
        "experiment.probe_start": control.probe_start,
        "experiment.author_probe": control.probe,
        "experiment.rank": gold.rank,
        "pairing.noise": max(gold, control, key=lambda trial: (math.isfinite(trial.noise), trial.probe)).noise,
        "evaluation.ignored": list(gold.ignored),
        "experiment.steps": lab.steps,
        "experiment.whole": lab.steps >= lab.planned,
        "experiment.reference_rate": lab.rate,
        "experiment.rows": 0 if probe is None else probe.rows,
        "experiment.chance": chance(probe.rows) if probe is not None else float("nan"),
    }
    found |= control.marks
    found |= harmless | ({"experiment.own_metric": True} if lab.gauge.has_metric else {})
    found |= to_the_end(lab, gold.metric)
    found |= {f"experiment.control.{k}": v for k, v in asdict(lab.effect(CONTROL, lab.gold, [0])).items()}
    if not gold.probe > LIFTED:
        found |= rival_towers(lab)
        found |= dealt_out(lab, found)
    suspicious = found["experiment.control.relative"] < -FINE and not found.get("experiment.arrives") and learned(found)
    found |= knock_ins(lab, facts, suspicious=suspicious, suspects=suspects)
    if suspicious and not any(found.get(f"experiment.{p}.relative", 0.0) < -SLOWS for p in PARTS):
        found |= knock_outs(lab, suspects, control.metric, gold.metric)
    found |= exchanged(lab, facts) if suspicious else {}
    found |= {} if lab.left < 0 else refined(lab, {**facts, **found})
    return found | cures(lab, found)


def learned(facts: Mapping[str, Any]) -> bool:
    """Whether the reference learned enough for differences to mean something."""
    chance = facts["experiment.chance"]
    gain = facts["experiment.reference"] - facts["experiment.start"]
    seen = not math.isfinite(chance) or facts["experiment.probe"] > 6 * chance
    return seen or gain > 0.1


def to_the_end(lab: Lab, reference: float) -> Facts:
    """Where arms are shorter than the author's run: does that arrive, in the end, where the reference is now?"""
    control = lab.run(CONTROL)
    longer = replace(CONTROL, name="the author's program, all steps")
    if lab.steps >= lab.planned or control.metric > (1 - SLOWS) * reference or control.broken:
        return {}
    if math.isnan(reference):
        return {}
    if lab.planned * control.step_seconds > 0.3 * lab.left:
        return {}
    reached = lab.run(longer, steps=lab.planned).metric
    return {"experiment.author_in_full": reached, "experiment.arrives": reached > (1 - SLOWS) * reference}


def idle(facts: Mapping[str, Any]) -> frozenset[str]:
    """Parts that need no exchange, because nothing of the kind was seen."""
    seen = {
        "trainable": facts.get("parameters.forgotten", 0) + facts.get("parameters.frozen", 0) > 0,
        "regularisation": (bool(facts.get("dropout.called")) and facts.get("dropout.rate", 1.0) > 0)
        or bool(facts.get("dropout.elsewhere")),
        "precision": bool(facts.get("precision.halved")),
        "weights": (facts.get("weights.lost") or 0.0) > 0.02 or facts.get("weights.odd", 0.0) > 0.02,
        "mode": facts.get("mode.evaluating", 0) > 0,
        "graph": facts.get("mode.gradient") is False
        or (facts.get("parameters.unmoved", 0) > 0 and any(facts.get(f"mode.{s}_gradient") is False for s in SIDES)),
    }  # fmt: skip
    return frozenset(part for part, differs in seen.items() if not differs)


def rival_towers(lab: Lab) -> Facts:
    """The reference recipe with towers of its own on the same inputs: is there anything to learn in them?"""
    material = lab.material
    if material.pool is None or material.probe is None:
        return {}
    pool, probe = material.pool, material.probe

    def build(seed: int = 0) -> Program:
        program = ReferenceProgram(pool, material.query, material.document, material.size, seed)
        return program  # type: ignore[return-value]

    gauge = Gauge(material=material, has_metric=False)
    rival = Lab(build, material, gauge, lab.steps, lab.steps, lab.clock, lab.deadline)
    best = 0.0
    for rate in (3e-3, 2e-2):
        if rival.left > 0:
            best = max(
                best,
                rival.run(Arm(rate=rate, author=frozenset({"regularisation", "precision", "mode", "graph"}))).probe,
            )
    lab.taken += rival.taken
    del probe
    return {"experiment.towers": best} if best else {}


def knock_ins(lab: Lab, facts: Mapping[str, Any], *, suspicious: bool, suspects: Collection[str] = ()) -> Facts:
    """One part of the author's at a time in the reference; a second and a third seed where the first is not clear."""
    found: Facts = {}
    arms = {part: lab.knocked_in(part) for part in PARTS if part not in lab.idle}
    if lab.material.pool is None:
        arms.pop("order", None)
    if facts.get("rows.same", 0) > 0.002 and facts.get("trace.masked", 0) == 0:
        arms["negatives"] = replace(lab.gold, name="", masked=False)
    if not suspicious:
        return {}
    for part, arm in sorted(arms.items(), key=lambda item: item[0] not in suspects):
        if lab.left < 0:
            break
        effect, seeds = lab.effect(arm, lab.gold, [0]), [0]
        while len(seeds) < 3 and lab.left > 0 and effect.low < -SLOWS < effect.high and effect.relative < -FINE:
            seeds.append(len(seeds))
            effect = lab.effect(arm, lab.gold, seeds)
        if lab.run(arm).raised:  # the program cannot bear the exchange, which says nothing about the part
            continue
        found |= {f"experiment.{part}.{k}": v for k, v in asdict(effect).items()}
        found[f"experiment.{part}.n"] = len(seeds)
    return found


def knock_outs(lab: Lab, suspects: Collection[str], author: float, reference: float) -> Facts:
    """One part of the author's program exchanged for the reference's: which single change suffices?

    For faults that hurt only together with another part, such as half of the weights frozen under a low rate.
    """
    found: Facts = {}
    parts = [p for p in PARTS if p not in lab.idle and (p != "order" or lab.material.pool is not None)]
    for part in sorted(parts, key=lambda p: p not in suspects):
        if lab.left < 0:
            break
        won = lab.run(lab.knocked_out(part)).metric - author
        if won > 0.5 * (reference - author):
            relative = -won / max(1e-9, reference)
            found |= {f"experiment.{part}.relative": relative, f"experiment.{part}.n": 1,
                      f"experiment.{part}.low": relative - 0.1, f"experiment.{part}.high": relative + 0.1}  # fmt: skip
            if part in suspects:
                break
    return found


def refined(lab: Lab, facts: Mapping[str, Any]) -> Facts:
    """Which trait of the author's update is to blame, where the update is."""
    if facts.get("experiment.optimiser.relative", 0.0) > -SLOWS:
        return {}
    gold, base = lab.run(lab.gold).metric, lab.run(lab.knocked_in("optimiser")).metric
    lost = gold - base
    author = lab.knocked_in("optimiser")

    def share(name: str, change: Callable[[Program], None], plain: bool = False) -> float:
        if lab.left < 0 or lost <= 0:
            return float("nan")
        return (lab.run(replace(author, name=name, change=change, plain_update=plain)).metric - base) / lost

    found: Facts = {}
    if facts.get("optimiser.decay", 0) > 0:
        found["experiment.decay.share"] = share("no decay", without_decay)
    peak = max([*lab.run(CONTROL).rates, float(facts.get("optimiser.rate", 0.0))])
    found["experiment.plain.share"] = share("plain update", at_rate(peak), True)
    if max(v for v in [*found.values(), 0.0] if not math.isnan(v)) < 0.5:
        found |= _ladder(share)
    return {k: v for k, v in found.items() if not (isinstance(v, float) and math.isnan(v))}


def _ladder(share: Callable[[str, Callable[[Program], None]], float]) -> Facts:
    """Multiples of the author's rate: one step up and one down, then on in the better direction."""
    tried = {times: share(f"rate x {times:g}", times_rate(times)) for times in (10.0, 0.1)}
    up = (tried[10.0], 10.0) >= (tried[0.1], 10.0)
    for times in (100.0, 1000.0, 3.0) if up else (0.01, 0.001, 0.3):
        if max(tried.values()) > 0.9:
            break
        tried[times] = share(f"rate x {times:g}", times_rate(times))
    known = {t: s for t, s in tried.items() if not math.isnan(s)}
    if not known:
        return {}
    best = max(known, key=lambda t: known[t])
    return {"experiment.rate.times": best, "experiment.rate.share": known[best]}


def cures(lab: Lab, facts: Mapping[str, Any]) -> Facts:
    """The author's program with each convicted part exchanged, and with all of them."""
    convicted = [p for p in PARTS if facts.get(f"experiment.{p}.relative", 0.0) < -SLOWS]
    found: Facts = {}
    if convicted and lab.left > 0:
        cured = lab.run(lab.knocked_out(*convicted)).metric
        found |= {} if math.isnan(cured) else {"experiment.cured": cured, "experiment.cured_parts": convicted}
    return found


def without_decay(program: Program) -> None:
    """No weight decay."""
    for group in program.optimizer.param_groups:
        group["weight_decay"] = 0.0


def at_rate(rate: float) -> Callable[[Program], None]:
    """A learning rate, kept."""

    def change(program: Program) -> None:
        for group in program.optimizer.param_groups:
            group["lr"] = rate

    return change


def times_rate(times: float) -> Callable[[Program], None]:
    """A multiple of the author's rates at every step, whatever the author's schedule makes of them."""

    def change(program: Program) -> None:
        optimizer = program.optimizer

        def before(*args: object) -> None:
            for group in optimizer.param_groups:
                group["lr"] *= times

        def after(*args: object) -> None:
            for group in optimizer.param_groups:
                group["lr"] /= times

        optimizer.register_step_pre_hook(before)
        optimizer.register_step_post_hook(after)

    return change
