"""Experiments that are made only where they can tell the causes apart that are left; the cheap ones first.

Each is a function that trains fresh programs for a few steps and gives facts; `further` says when which is worth it.
None of them convicts: what they show is told as suspected, and helps where no exchange of a part explained the loss.
"""

from __future__ import annotations

__all__ = ["constant_inputs", "further", "one_batch", "resumed", "scaled", "shuffled", "swapped_roles"]

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from embedfit.doctor.arms import PARTS
from embedfit.doctor.battery import SLOWS, learned
from embedfit.doctor.gauge import chance, embedded, reciprocal_ranks
from embedfit.doctor.inputs import standardised
from embedfit.doctor.lab import Lab
from embedfit.doctor.material import Material
from embedfit.doctor.program import Build, Program, Updates
from embedfit.doctor.substitute import Substitutes
from embedfit.probes.rows import Table, table
from embedfit.probes.state import same_random_numbers

Facts = dict[str, Any]
ONE_BATCH = 100  # steps in which any sound program learns a batch by heart
REPLAYED = 4  # steps before a state is stored: gradients of two or four batches in one step are used up by then
LOUD = 0.5  # share of the inputs' squared length in one column, from which it is tried without
AHEAD = 3.0  # times chance, from which towers know something before training


def further(lab: Lab, facts: Mapping[str, Any]) -> Facts:
    """Those of the experiments of this module for which there is a reason, within what is left of the budget.

    - a resume replay: exact and a few steps long, so always;
    - swapped roles: two forward passes; only if the towers tell pairs apart before training, as pretrained ones do;
    - standardised inputs: two runs, only where one column drowns the others;
    - one batch learned by heart, shuffled pairs and constant inputs: only if the program falls short and no part
      explains it.

    Args:
        lab: where the other experiments were made.
        facts: what is known so far.
    """
    found: Facts = {}
    if lab.left > 0:
        found |= resumed(lab.build, lab.material)
        lab.taken += 2 * bool(found) + REPLAYED
    if lab.left > 0 and _knows_something(facts):
        found |= swapped_roles(lab.build, lab.material)
    if lab.left > 0 and facts.get("inputs.loudest", 0.0) > LOUD:
        found |= scaled(lab.build, lab.material, lab.steps)
        lab.taken += 2 * lab.steps * bool(found.get("scaled.raw"))
    if lab.left > 0 and _unexplained(facts):
        found |= one_batch(lab.build, lab.material)
        lab.taken += int(found.get("one_batch.steps", 0))
    if lab.left > 0 and _unexplained(facts):
        steps = min(lab.steps, ONE_BATCH)
        given = shuffled(lab.build, lab.material, steps)
        found |= given
        lab.taken += 2 * steps * bool(given)
    if lab.left > 0 and _unexplained(facts):
        found |= constant_inputs(lab.build, lab.material, min(lab.steps, ONE_BATCH), found)
        lab.taken += 3 * min(lab.steps, ONE_BATCH) * ("constant.real" in found)
    return found


def resumed(build: Build, material: Material) -> Facts:
    """A step of the program against the same step of a fresh one that took over its stored state.

    Returns:
        "resume.loss_apart", difference of the losses as a share; "resume.update_apart", of the updates; nothing where
        a program cannot be stored.
    """
    first, batch = _built(build), material.batches[REPLAYED % len(material.batches)]
    _steps(first, [material.batches[k % len(material.batches)] for k in range(REPLAYED)])
    with contextlib.suppress(RuntimeError, KeyError, ValueError, TypeError):
        model, optimizer = deepcopy(first.model.state_dict()), deepcopy(first.optimizer.state_dict())
        second = _built(build)
        second.model.load_state_dict(model)
        second.optimizer.load_state_dict(optimizer)
        for mine, theirs in zip(second.model.modules(), first.model.modules(), strict=True):
            mine.training = theirs.training
        (loss, after), (again, resumed_after) = _one_step(first, batch), _one_step(second, batch)
        before = _flat(model[name] for name, _ in first.model.named_parameters())
        moved = float((after - before).norm())
        return {
            "resume.loss_apart": abs(loss - again) / max(abs(loss), 1e-9),
            "resume.update_apart": float((after - resumed_after).norm()) / max(moved, 1e-12) if moved else 0.0,
        }
    return {}


def swapped_roles(build: Build, material: Material) -> Facts:
    """The rank metric of the untrained program, and that with the inputs of both sides exchanged.

    Returns:
        "roles.as_is", "roles.swapped", and "roles.z", their paired difference in standard errors; nothing where one
        side's inputs do not fit the other tower.
    """
    probe = material.probe
    pairs = list(zip(material.query, material.document, strict=False))
    alike = len(material.query) == len(material.document) and all(q != d for q, d in pairs)
    if probe is None or not pairs or not alike:
        return {}
    columns = {**probe.columns, **{q: probe.columns[d] for q, d in pairs}, **{d: probe.columns[q] for q, d in pairs}}
    program = _built(build)
    with contextlib.suppress(RuntimeError, IndexError, KeyError):  # inputs that the other tower cannot take
        as_is = reciprocal_ranks(*embedded(program, probe, material.size))
        other = reciprocal_ranks(*embedded(program, replace(probe, columns=columns), material.size))
        gain = (other - as_is).double()
        error = float(gain.std()) / math.sqrt(len(gain))
        z = float(gain.mean()) / error if error else 0.0
        return {"roles.as_is": float(as_is.mean()), "roles.swapped": float(other.mean()), "roles.z": z,
                "roles.rows": len(gain)}  # fmt: skip
    return {}


def one_batch(build: Build, material: Material, steps: int = ONE_BATCH) -> Facts:
    """One batch, again and again, without dropout: model, loss and optimiser together can at least learn it by heart.

    Returns:
        "one_batch.start" and "one_batch.end", share of the queries whose nearest document is their own (or an equal
        one), "one_batch.steps" and "one_batch.rows".
    """
    program, batch = _built(build), material.batches[0]
    with Substitutes(dropout=True).into(program.model):
        start = _nearest(program, batch, material)
        taken = len(_steps(program, [batch] * steps))
        return {"one_batch.start": start, "one_batch.end": _nearest(program, batch, material),
                "one_batch.steps": taken, "one_batch.rows": material.size}  # fmt: skip


def shuffled(build: Build, material: Material, steps: int) -> Facts:
    """The program on its rows, and on the same rows with the documents dealt anew: does its loss notice?

    Returns:
        "shuffled.start", loss of the first step, and "shuffled.real" and "shuffled.dealt", mean losses of the last
        tenth of the steps.
    """
    dealt = material.dealt()
    if material.pool is None or dealt is None:
        return {}
    losses = [_steps(_built(build), _dealt_out(pool, material.size, steps)) for pool in (material.pool, dealt)]
    if not all(losses):
        return {}
    real, without = (_end(given, steps) for given in losses)
    return {"shuffled.start": losses[0][0], "shuffled.real": real, "shuffled.dealt": without}


def constant_inputs(build: Build, material: Material, steps: int, known: Mapping[str, Any] | None = None) -> Facts:
    """The program with the same query in every row, and with the same document: does its loss notice?

    Args:
        build: makes the program.
        material: its rows; only what embeddings depend on is made constant, so that ids in masks stay as they are.
        steps: of each run.
        known: facts of `shuffled`, whose run on the rows as they are is not made again.

    Returns:
        "constant.start" and "constant.real", losses of the first step and at the end on the rows as they are, and
        "constant.query" and "constant.document", at the end with one side constant; nothing where rows cannot be taken
        apart, or a side has no columns of its own.
    """
    pool = material.pool
    if pool is None or not set(material.query) - set(material.document):
        return {}
    start, real = ((known or {}).get(f"shuffled.{name}") for name in ("start", "real"))
    if start is None or real is None:
        losses = _steps(_built(build), _dealt_out(pool, material.size, steps))
        if not losses:
            return {}
        start, real = losses[0], _end(losses, steps)
    found: Facts = {"constant.start": start, "constant.real": real}
    for side, names in (("query", material.query), ("document", material.document)):
        same = pool.take([0] * pool.rows)
        alike = replace(pool, columns={**pool.columns, **{name: same.columns[name] for name in names}})
        losses = _steps(_built(build), _dealt_out(alike, material.size, steps))
        if not losses:
            return {}
        found[f"constant.{side}"] = _end(losses, steps)
    return found


def scaled(build: Build, material: Material, steps: int) -> Facts:
    """The program on its rows, and on rows whose columns of numbers have zero mean and unit spread.

    Returns:
        "scaled.raw" and "scaled.standard", rank metric of the rows held back after each.
    """
    pool, probe = material.pool, material.probe
    if pool is None or probe is None:
        return {}
    names, found = dict.fromkeys([*material.query, *material.document]), {}
    even = {"scaled.raw": (pool, probe),
            "scaled.standard": tuple(standardised(rows, names, pool) for rows in (pool, probe))}  # fmt: skip
    for name, (rows, held) in even.items():
        program = _built(build)
        if not _steps(program, _dealt_out(rows, material.size, steps)):
            return {}
        found[name] = float(reciprocal_ranks(*embedded(program, held, material.size)).mean())
    return found


def _end(losses: list[float], steps: int) -> float:
    """Mean of the last tenth of the steps."""
    return mean(losses[-max(1, steps // 10) :])


def _knows_something(facts: Mapping[str, Any]) -> bool:
    rows = facts.get("experiment.rows", 0)
    return bool(rows) and facts.get("experiment.probe_start", 0.0) > AHEAD * chance(rows)


def _unexplained(facts: Mapping[str, Any]) -> bool:
    """Whether the program falls short, or nothing was learned at all, and no part that was exchanged explains it."""
    explained = any(facts.get(f"experiment.{part}.relative", 0.0) < -SLOWS for part in PARTS)
    short = facts["experiment.control.relative"] < -SLOWS and not facts.get("experiment.arrives")
    return not explained and (short or not learned(facts))


def _built(build: Build) -> Program:
    with same_random_numbers(0):
        return build(seed=0)


def _steps(program: Program, batches: Iterable[Any]) -> list[float]:
    """Losses of the author's own steps on these batches; ends at one that cannot be taken."""
    losses: list[float] = []
    with same_random_numbers(0):
        for batch in batches:
            loss = program.train_step(batch)["loss"]
            if not bool(torch.isfinite(loss)) or not loss.requires_grad:
                break
            losses.append(float(loss.detach()))
            _update(program, loss)
    return losses


def _one_step(program: Program, batch: Any) -> tuple[float, Tensor]:
    """Loss of a step, and the parameters after it."""
    [loss] = _steps(program, [batch])
    return loss, _flat(p.detach() for p in program.model.parameters())


def _update(program: Program, loss: Tensor) -> None:
    if isinstance(program, Updates):
        program.update(loss)
        return
    program.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    program.optimizer.step()


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([t.detach().double().reshape(-1).cpu() for t in tensors])


def _nearest(program: Program, batch: Any, material: Material) -> float:
    with same_random_numbers(0), torch.no_grad():
        out = program.train_step(batch)
    n = len(out["query"])
    sides = [torch.nn.functional.normalize(out[s][:n].float(), dim=-1).cpu() for s in ("query", "document")]
    nearest = (sides[0] @ sides[1].T).nan_to_num(-1.0).argmax(1)
    same = torch.arange(n)
    if material.pool is not None:
        _, same = material.numbers(table(batch, n))
    return float((same[nearest] == same).float().mean())


def _dealt_out(pool: Table, size: int, steps: int) -> Iterator[Any]:
    """Batches of a pool in random order, the same for every pool of as many rows."""
    generator = torch.Generator().manual_seed(1)
    given = 0
    while given < steps:
        order = torch.randperm(pool.rows, generator=generator).tolist()
        for start in range(0, max(1, pool.rows - size + 1), size):
            if given < steps:
                given += 1
                yield pool.take(order[start : start + size]).batch(given)
