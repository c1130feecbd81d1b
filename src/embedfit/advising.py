"""What a finished run says of other batch sizes: noise scale, learning rate, steps and examples."""

from __future__ import annotations

__all__ = ["Advised", "advise"]

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from embedfit import run as runs
from embedfit.engine.noise import probe
from embedfit.engine.planning import plan_for
from embedfit.engine.setup import prepare
from embedfit.errors import RunError
from embedfit.evaluate.tasks import without_label_texts
from embedfit.job import gather
from embedfit.optim.laws import Advice, NoiseScale, Tried, advice, noise_scale, noise_scale_of, usable
from embedfit.run import Run
from embedfit.towers import Prototypes, TwoTower, load

PROBED = 16  # batches
AGREE = 2.0  # ratio of two estimates that says the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Advised:
    """What can be said, and why not more.

    Attributes:
        tried: batch size of the run.
        rate: its learning rate.
        optimiser: its kind.
        noise: noise scale over the run, by consecutive gradients; None where the run has no readings.
        probed: noise scale at the trained weights, by independent batches; None where it was not asked for.
        refusal: why no rate is advised; None where one is.
        options: batch sizes and what goes with them.
        remarks: what to bear in mind.
    """

    tried: int
    rate: float
    optimiser: str
    noise: NoiseScale | None
    probed: NoiseScale | None
    refusal: str | None
    options: tuple[Advice, ...]
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def advise(folder: Path, *, batch_size: int | None = None, probed: bool = False) -> Advised:
    """What a run says of other batch sizes.

    Args:
        folder: of a finished run.
        batch_size: one to be told of besides the usual ones.
        probed: also measure at the trained weights, which reads the data and embeds 16 batches.

    Raises:
        RunError: there is no such run, or it is not finished.
    """
    run = runs.load(folder)
    if not run.evaluation:
        raise RunError(f"the run in '{folder}' is not finished", hint="advice needs one that was trained to its end")
    optim = run.recipe.optim
    tried = int(run.facts["chosen.batch_size"]) * optim.accumulate
    rate = float(run.facts["chosen.learning_rate"])
    over, at_end = _over(run, tried), _at_end(run, folder) if probed else None
    noise = next((scale for scale in (over, at_end) if scale is not None and usable(scale) is None), None)
    options: list[Advice] = []
    if noise is not None:
        sizes = {round(tried * factor) for factor in (0.25, 0.5, 1, 2, 4)} | ({batch_size} if batch_size else set())
        good = Tried(
            kind=optim.kind,
            batch_size=tried,
            rate=rate,
            weight_decay=optim.weight_decay,
            betas=tuple(run.facts["chosen.betas"]),
            momentum=float(run.facts["chosen.momentum"]),
        )
        options = [advice(size, noise, good) for size in sorted(sizes) if size >= 2]
    return Advised(
        tried=tried,
        rate=rate,
        optimiser=optim.kind,
        noise=over,
        probed=at_end,
        refusal=_refusal(over, at_end) if noise is None else None,
        options=tuple(options),
        remarks=tuple(_remarks(run.facts, over, at_end, options)),
    )


def _refusal(over: NoiseScale | None, at_end: NoiseScale | None) -> str:
    """Why neither says anything."""
    none = "the run has no readings of gradient noise"
    why = none if over is None else usable(over)
    if at_end is None:
        return f"{why}; --probe measures it at the trained weights"
    return f"{why}; at the trained weights: {usable(at_end)}"


def _over(run: Run, tried: int) -> NoiseScale | None:
    """From the readings between the warmup and the end, at the run's own learning rate."""
    warmup = float(run.facts.get("chosen.warmup", 0))
    found = run.history.readings
    squares = {step: value for step, value in found.get("noise/square", []) if step > warmup}
    products = {step: value for step, value in found.get("noise/product", []) if step > warmup}
    steps = sorted(squares.keys() & products.keys())
    if not steps:
        return None
    way = "products of consecutive gradients over the run"
    return noise_scale([squares[s] for s in steps], [products[s] for s in steps], tried, way=way)


def _at_end(run: Run, folder: Path) -> NoiseScale:
    """From independent batches of the run's rows at its trained weights."""
    rows, model = gather(run.recipe), load(folder / "model")
    classes = model.document if isinstance(model.document, Prototypes) else None
    towers = model if classes is None else TwoTower(model.query)
    setup = prepare(without_label_texts(rows.train), run.recipe, towers)
    anew = setup.objective.model.document
    if classes is not None and isinstance(anew, Prototypes):  # made from class means; the trained ones are asked for
        with torch.no_grad():
            anew.table.copy_(classes.table[classes.tokenize(anew.labels).ids])
    plan = plan_for(setup, float(run.facts["chosen.learning_rate"]))
    table = probe(setup.objective, setup.material, plan, batches=PROBED)
    way = f"{PROBED} independent batches at the trained weights"
    return noise_scale_of(table, plan.batch_size * plan.accumulate, way=way)


def _differ(a: float, b: float) -> bool:
    """Whether two noise scales say different things; of two infinite ones, neither says anything."""
    return math.isfinite(min(a, b)) and not 1 / AGREE < (b + 1) / (a + 1) < AGREE


def _remarks(
    facts: Mapping[str, Any], over: NoiseScale | None, at_end: NoiseScale | None, options: list[Advice]
) -> list[str]:
    out = []
    if facts.get("loss.candidates") and facts.get("chosen.loss") != "prototypes":
        out.append(
            "queries are compared with each other's documents: a larger batch asks a harder question, and its noise "
            "scale is another. Bring more negatives first (negatives.kind), then raise the batch"
        )
    if any(option.far for option in options):
        out.append("beyond four times the batch that was tried, branch off a checkpoint and try before you believe it")
    if over is not None and at_end is not None and usable(over) is not None and usable(at_end) is None:
        out.append(f"this follows from the trained weights; over the run: {usable(over)}")
    elif over is not None and at_end is not None and _differ(over.value, at_end.value):
        out.append(
            "the two estimates differ: one is over the run at its learning rate, where weights move between two steps, "
            "the other at the trained weights, which stand still; believe neither beyond its factor"
        )
    if options:
        out.append("warmup and the window of the weight average are shares of the run here, and need no change")
    return out
