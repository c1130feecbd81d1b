"""From a setup to the plan of its run, at a learning rate."""

from __future__ import annotations

__all__ = ["plan_for"]

from embedfit.engine.plan import Plan
from embedfit.engine.setup import Setup
from embedfit.recipe import Recipe


def plan_for(setup: Setup, rate: float) -> Plan:
    """The plan of a setup, at a learning rate."""
    chosen, optim = setup.chosen, setup.recipe.optim
    own = optim.kind == "schedule_free"  # which averages the weights itself, in the place of a schedule
    return Plan(
        steps=chosen.steps,
        batch_size=chosen.batch_size,
        accumulate=optim.accumulate,
        learning_rate=rate,
        warmup=chosen.warmup,
        schedule=("constant" if own else "cosine") if optim.schedule == "auto" else optim.schedule,
        max_gradient_norm=optim.max_gradient_norm,
        optimiser=optim.kind,
        betas=chosen.betas,
        momentum=MOMENTUM.get(optim.kind, 0.0) if optim.momentum == "auto" else optim.momentum,
        average=0.0 if own else chosen.average,
        evaluate_every=chosen.evaluate_every,
        patience=optim.patience,
        seed=optim.seed,
        stages=setup.stages,
        guard=_guarded(setup.recipe),
    )


def _guarded(recipe: Recipe) -> bool:
    """Losses that look at the hardest negatives alone collapse, and so may what a stage brings."""
    wanted = recipe.curriculum
    return bool(wanted.stages) or recipe.loss.kind in ("hinge", "triplet") if wanted.guard == "auto" else wanted.guard


MOMENTUM = {"sgd": 0.9, "muon": 0.95}
