"""One short training run in which some parts of a program are its author's and the others are of the reference."""

from __future__ import annotations

__all__ = ["PARTS", "WATCHED", "Arm", "Trial", "train"]

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from embedfit.doctor.gauge import Gauge
from embedfit.doctor.material import Material
from embedfit.doctor.program import Program, Updates
from embedfit.doctor.reference import ReferenceOptimiser, reference_loss
from embedfit.doctor.substitute import Substitutes
from embedfit.probes.rows import table

PARTS = ("loss", "optimiser", "trainable", "order", "regularisation", "precision", "mode", "graph")
"""What can be exchanged in anybody's program."""

USUAL_RATE = 3e-3
WATCHED = "the author's program"
"""Name of the arm that is measured on the way, too."""

Change = Callable[[Program], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Which parts are the author's.

    Attributes:
        author: parts that stay as the author wrote them.
        name: of a variation of an author's part, such as "rate x 0.1"; empty for none.
        change: carries the variation out on a fresh program.
        temperature: of the reference loss.
        masked: whether the reference loss knows equal documents.
        plain_update: zero_grad, backward and step instead of the author's `update`.
        rate: learning rate of the reference optimiser; None: 3e-3.
    """

    author: frozenset[str] = frozenset()
    name: str = ""
    change: Change | None = field(default=None, compare=False)
    temperature: float = 0.05
    masked: bool = True
    plain_update: bool = False
    rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How an arm went.

    Attributes:
        metric: at the end.
        start: before the first step, of the author's program.
        course: (step, metric) along the way.
        losses: of every step, as the arm's loss gives them.
        seconds: it took.
        broken: why it ended early.
        probe: rank metric on the rows held back, at the end.
        probe_start: the same before the first step.
        rates: learning rate of every step of the author's optimiser.
        rank: effective rank of the embeddings of the rows held back, at the end.
        step_seconds: median time of a step.
        noise: share of the rows held back that belong to no relation, see `Gauge.noise`.
    """

    metric: float
    start: float
    course: tuple[tuple[int, float], ...]
    losses: tuple[float, ...]
    seconds: float
    broken: str = ""
    probe: float = float("nan")
    probe_start: float = float("nan")
    rates: tuple[float, ...] = ()
    rank: float = float("nan")
    step_seconds: float = 0.0
    noise: float = float("nan")


def train(
    program: Program, arm: Arm, material: Material, gauge: Gauge, *, steps: int, seed: int, deadline: float
) -> Trial:
    """Train a fresh program for some steps, with the reference in place of all parts that are not the author's.

    Args:
        program: fresh from `build`.
        arm: which parts are whose.
        material: the program's rows.
        gauge: measures the held-out metric.
        steps: how many.
        seed: of the order and of what is random in a step.
        deadline: `time.perf_counter` at which to stop.
    """
    began = time.perf_counter()
    if arm.change is not None:
        arm.change(program)
    substitutes = Substitutes(
        dropout="regularisation" not in arm.author, half="precision" not in arm.author,
        modes="mode" not in arm.author, graph="graph" not in arm.author,
    )  # fmt: skip
    start = probe_start = float("nan")
    if arm.name == WATCHED:
        start, probe_start = gauge.of(program), gauge.probe(program)
    update = _update(program, arm, steps)
    losses: list[float] = []
    rates: list[float] = []
    clock: list[float] = [time.perf_counter()]
    course: list[tuple[int, float]] = []
    broken = ""
    torch.manual_seed(1000 + seed)
    with substitutes.into(program.model):
        for done, batch in enumerate(itertools.islice(_batches(program, arm, material, seed), steps), 1):
            rates.append(float(program.optimizer.param_groups[0]["lr"]))
            loss = _loss(program, arm, material, batch, substitutes)
            if not bool(torch.isfinite(loss)):
                broken = f"the loss is {float(loss)} at step {done}"
                break
            losses.append(float(loss.detach()))
            if not loss.requires_grad:
                broken = "the loss has no gradient"
                break
            update(loss)
            clock.append(time.perf_counter())
            if time.perf_counter() > deadline:
                broken = f"out of time after {done} steps"
                break
            if arm.name == WATCHED and done in (steps // 2, 3 * steps // 4):
                course.append((done, _outside(substitutes, program.model, gauge, program)))
                clock.append(time.perf_counter())
    probe, rank = gauge.probe_and_rank(program)
    metric = gauge.of(program) if gauge.has_metric else probe
    course.append((len(losses), metric))
    return Trial(
        metric=metric, probe=probe, start=start, probe_start=probe_start, course=tuple(course), losses=tuple(losses),
        seconds=time.perf_counter() - began, broken=broken, rates=tuple(rates), rank=rank,
        noise=gauge.noise(program),
        step_seconds=median(b - a for a, b in pairwise(clock)) if len(clock) > 1 else 0.0,
    )  # fmt: skip


def _outside(substitutes: Substitutes, model: nn.Module, gauge: Gauge, program: Program) -> float:
    """A measurement in the middle of an arm, without what the arm exchanges."""
    with substitutes.lifted(model):
        return gauge.of(program)


def _loss(program: Program, arm: Arm, material: Material, batch: Any, substitutes: Substitutes) -> Tensor:
    with substitutes.around_step():
        out = program.train_step(batch)
    if "loss" in arm.author:
        return out["loss"]
    same = None
    if arm.masked and material.pool is not None:
        rows = table(batch, len(out["query"]))
        with contextlib.suppress(KeyError, IndexError):
            same = material.numbers(rows)
    return reference_loss(out["query"], out["document"], same, arm.temperature)


def _batches(program: Program, arm: Arm, material: Material, seed: int) -> Iterator[Any]:
    """Batches without end: the author's, or rows of the pool in random order."""
    pool = material.pool
    if "order" in arm.author or pool is None:
        while True:
            yield from _without(program.batches, material)
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(pool.rows, generator=generator).tolist()
        for start in range(0, max(1, pool.rows - material.size + 1), material.size):
            yield pool.take(order[start : start + material.size]).batch()


def _without(batches: Iterable[Any], material: Material) -> Iterator[Any]:
    """The author's batches without the rows of the probe, where the probe is what is measured."""
    if not material.held:
        yield from batches
        return
    for batch in batches:
        rows = table(batch, material.rows_of(batch))
        left = [i for i, key in enumerate(material.keys(rows)) if key not in material.held]
        if len(left) == rows.rows:
            yield batch
        elif len(left) > 1:
            yield rows.take(left).batch()


def _update(program: Program, arm: Arm, steps: int) -> Callable[[Tensor], None]:
    """What makes a step of a loss."""
    everything = list(program.model.parameters())
    known = {id(p) for group in program.optimizer.param_groups for p in group["params"]}
    if "trainable" not in arm.author:
        for parameter in everything:
            if parameter.is_floating_point():
                parameter.requires_grad_(True)
    if "optimiser" not in arm.author:
        theirs = [p for group in program.optimizer.param_groups for p in group["params"]]
        whole = list({id(p): p for p in [*everything, *theirs]}.values())
        chosen = [p for p in whole if p.requires_grad and ("trainable" not in arm.author or id(p) in known)]
        sparse = {
            id(m.weight) for m in program.model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag) and m.sparse
        }
        return ReferenceOptimiser(chosen, arm.rate or USUAL_RATE, steps, tuple(sparse)).update
    if "trainable" not in arm.author:
        missing = [p for p in everything if id(p) not in known]
        if missing:
            program.optimizer.add_param_group({"params": missing})
    if isinstance(program, Updates) and not arm.plain_update:
        return program.update
    return _plain(program.optimizer)


def _plain(optimizer: Optimizer) -> Callable[[Tensor], None]:
    def update(loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return update
