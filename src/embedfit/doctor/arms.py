"""One short training run in which some parts of a program are its author's and the others are of the reference."""

from __future__ import annotations

__all__ = [
    "PARTS",
    "TRUSTED",
    "WATCHED",
    "Arm",
    "Trial",
    "epoch",
    "renew",
    "step_loss",
    "substitutes",
    "train",
    "updater",
    "without_held",
]

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from embedfit.doctor.aftermath import aftermath
from embedfit.doctor.clock import Stopwatch
from embedfit.doctor.gauge import Gauge
from embedfit.doctor.material import Material
from embedfit.doctor.program import Program, Updates
from embedfit.doctor.reference import ReferenceOptimiser, reference_loss
from embedfit.doctor.substitute import Substitutes
from embedfit.probes.loading import Checkpoint
from embedfit.probes.rows import table
from embedfit.probes.start import redraw

PARTS = ("loss", "optimiser", "trainable", "order", "regularisation", "precision", "mode", "graph", "weights")
"""What can be exchanged in anybody's program."""

USUAL_RATE = 3e-3
WATCHED = "the author's program"
"""Name of the arm that is measured on the way, too."""
TRUSTED = "the reference"
"""Name of the arm after which the author's metric is tried."""

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
        ignored: sides whose towers the author's metric does not depend on, after the reference.
        marks: what the author's program shows when it has been trained.
        raised: whether the exchange ended in an error, so that nothing was measured.
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
    ignored: tuple[str, ...] = ()
    marks: Mapping[str, Any] = field(default_factory=dict)
    raised: bool = False

    @classmethod
    def failed(cls, error: Exception) -> Trial:
        """A trial that ended in an error, and measured nothing."""
        nothing = float("nan")
        why = f"{type(error).__name__}: {error}"
        return cls(metric=nothing, start=nothing, course=(), losses=(), seconds=0.0, broken=why, raised=True)


def train(
    program: Program, arm: Arm, gauge: Gauge, *, steps: int, seed: int, clock: Stopwatch, deadline: float
) -> Trial:
    """Train a fresh program for some steps, with the reference in place of all parts that are not the author's.

    Args:
        program: fresh from `build`.
        arm: which parts are whose.
        gauge: measures the held-out metric, and has the program's rows.
        steps: how many.
        seed: of the order and of what is random in a step.
        clock: of the budget.
        deadline: its seconds at which to stop.
    """
    began, material = clock.seconds, gauge.material
    if "weights" not in arm.author:
        renew(program.model, material.checkpoint)
    if arm.change is not None:
        arm.change(program)
    exchanges = substitutes(arm)
    start = probe_start = float("nan")
    if arm.name == WATCHED:
        with gauge.memory.into(program.model):
            start, probe_start = gauge.of(program), gauge.probe(program)
    update = updater(program, arm, steps)
    losses: list[float] = []
    rates: list[float] = []
    ticks: list[float] = [clock.seconds]
    course: list[tuple[int, float]] = []
    broken = ""
    torch.manual_seed(1000 + seed)
    with exchanges.into(program.model), gauge.memory.into(program.model, repr(exchanges)):
        for done, batch in enumerate(itertools.islice(_batches(program, arm, material, seed), steps), 1):
            rates.append(float(program.optimizer.param_groups[0]["lr"]))
            loss = step_loss(program, arm, material, batch, exchanges)[1]
            if not bool(torch.isfinite(loss)):
                broken = f"the loss is {float(loss)} at step {done}"
                break
            losses.append(float(loss.detach()))
            if not loss.requires_grad:
                broken = "the loss has no gradient"
                break
            update(loss)
            ticks.append(clock.seconds)
            if ticks[-1] > deadline:
                broken = f"out of time after {done} steps"
                break
            if arm.name == WATCHED and done in (steps // 4, steps // 2, 3 * steps // 4):
                course.append((done, _outside(exchanges, program.model, gauge, program)))
                ticks.append(clock.seconds)
    with gauge.memory.into(program.model):
        probe, rank = gauge.probe_and_rank(program)
        metric = gauge.of(program) if gauge.has_metric else probe
        noise = gauge.noise(program)
        marks = aftermath(program, material, len(losses) * material.size) if arm.name == WATCHED else {}
    course.append((len(losses), metric))
    return Trial(
        metric=metric, probe=probe, start=start, probe_start=probe_start, course=tuple(course), losses=tuple(losses),
        seconds=clock.seconds - began, broken=broken, rates=tuple(rates), rank=rank,
        marks=marks, noise=noise, ignored=gauge.ignored(program) if arm.name == TRUSTED else (),
        step_seconds=median(b - a for a, b in pairwise(ticks)) if len(ticks) > 1 else 0.0,
    )  # fmt: skip


def _outside(substitutes: Substitutes, model: nn.Module, gauge: Gauge, program: Program) -> float:
    """A measurement in the middle of an arm, without what the arm exchanges."""
    with substitutes.lifted(model):
        return gauge.of(program)


def renew(model: nn.Module, checkpoint: Checkpoint | None) -> None:
    """Weights that were meant: those of a checkpoint that did not arrive, or fresh ones."""
    if checkpoint is not None:
        checkpoint.restore(model)
    else:
        redraw(model)


def substitutes(arm: Arm) -> Substitutes:
    """What an arm exchanges inside of the forward pass."""
    return Substitutes(
        dropout="regularisation" not in arm.author, half="precision" not in arm.author,
        modes="mode" not in arm.author, graph="graph" not in arm.author,
    )  # fmt: skip


def step_loss(
    program: Program, arm: Arm, material: Material, batch: Any, exchanges: Substitutes
) -> tuple[Mapping[str, Tensor], Tensor]:
    """The author's step, and its loss or that of the reference."""
    with exchanges.around_step():
        out = program.train_step(batch)
    if "loss" in arm.author:
        return out, out["loss"]
    same = None
    if arm.masked and material.pool is not None:
        rows = table(batch, len(out["query"]))
        with contextlib.suppress(KeyError, IndexError):
            same = material.numbers(rows)
    return out, reference_loss(out["query"], out["document"], same, arm.temperature)


def _batches(program: Program, arm: Arm, material: Material, seed: int) -> Iterator[Any]:
    """Epoch after epoch, without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from epoch(program, arm, material, generator)


def epoch(program: Program, arm: Arm, material: Material, generator: torch.Generator) -> Iterator[Any]:
    """The author's batches, or rows of the pool in random order."""
    pool = material.pool
    if "order" in arm.author or pool is None:
        yield from without_held(program.batches, material)
        return
    order = torch.randperm(pool.rows, generator=generator).tolist()
    for start in range(0, max(1, pool.rows - material.size + 1), material.size):
        rows = order[start : start + material.size]
        yield pool.take(rows).batch(rows[0])


def without_held(batches: Iterable[Any], material: Material) -> Iterator[Any]:
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


def updater(program: Program, arm: Arm, steps: int) -> Callable[[Tensor], None]:
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
        _adopt(program.optimizer, [p for p in everything if id(p) not in known])
    if isinstance(program, Updates) and not arm.plain_update:
        return program.update
    return _plain(program.optimizer)


def _adopt(optimizer: Optimizer, missing: Iterable[nn.Parameter]) -> None:
    """Give an optimiser parameters as though it had held them from the start.

    They join its largest group: schedules and wrappers count the groups when they are made, and one more breaks them.
    """
    largest = max(optimizer.param_groups, key=lambda group: sum(p.numel() for p in group["params"]))
    largest["params"].extend(missing)


def _plain(optimizer: Optimizer) -> Callable[[Tensor], None]:
    def update(loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return update
