"""From rows and a recipe to a trained model: builds the parts, settles "auto", hands them to the loop."""

from __future__ import annotations

__all__ = ["Fitted", "Setup", "fit", "prepare"]

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from embedfit.data.examples import Examples, examples
from embedfit.engine import checkpoint
from embedfit.engine.checkpoint import Checkpoint
from embedfit.engine.defaults import FAMILIES, Chosen, choose, family_of, kind_for
from embedfit.engine.device import interruptible, precision_for, threaded, threads_for
from embedfit.engine.journal import Journal
from embedfit.engine.loop import Material, Observer, Plan, Readings, train
from embedfit.engine.rate import learning_rate_test
from embedfit.engine.read import read_step
from embedfit.engine.step import Objective
from embedfit.errors import NonFiniteLossError, RecipeError, RunError
from embedfit.losses import CoSENT, CosineRegression, InfoNCE, Loss, Symmetric
from embedfit.optim import Group, groups
from embedfit.pairs import Pairs
from embedfit.probes.floor import cosent_chance, cosent_floor, infonce_chance, infonce_floor
from embedfit.recipe import Recipe
from embedfit.scores import Known
from embedfit.towers import Prototypes, TwoTower, build, load
from embedfit.types import Tokens

Progress = Callable[[int, int, Readings], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything a run needs, settled but for the learning rate.

    Attributes:
        recipe: as given.
        kind: of the rows.
        objective: towers and loss.
        material: examples and tokens.
        groups: optimiser groups.
        chosen: what "auto" became.
        facts: of the model and the loss.
    """

    recipe: Recipe
    objective: Objective
    material: Material
    groups: list[Group]
    chosen: Chosen
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A trained model and what is known of its training.

    Attributes:
        model: the towers with the best weights, in evaluation mode.
        facts: "model.*", "loss.*", "chosen.*", "train.*".
    """

    model: TwoTower
    facts: Mapping[str, Any]


def prepare(train_pairs: Pairs, recipe: Recipe, towers: TwoTower | None = None) -> Setup:
    """Build towers, objective and examples.

    Args:
        train_pairs: the training rows.
        recipe: the settings.
        towers: train these instead of building what the recipe says.

    Raises:
        DataError: nothing to learn from.
        ModelError: the model cannot be built or loaded.
        RecipeError: settings that exclude each other.
    """
    wanted = recipe.loss.kind
    data = examples(train_pairs, prototypes=wanted in ("auto", "prototypes"))
    kind = "given" if towers is not None else kind_for(recipe.model.kind)
    family_name = family_of(kind)
    chosen = choose(recipe, data, train_pairs.kind, FAMILIES[family_name])
    _check_loss(chosen.loss, data)
    threads = recipe.run.threads or threads_for(family_name)
    precision = precision_for(recipe.run.precision, family_name)

    if towers is None:
        towers = _towers(kind, recipe, data)
    query_tokens = towers.query.tokenize(data.query_texts)
    if data.catalogue:
        means = class_means(towers, data, query_tokens)
        towers = TwoTower(towers.query, Prototypes.from_means(data.document_texts, means, parts=towers.query.parts))
    document_tokens = towers.document.tokenize(data.document_texts)

    loss = make_loss(chosen, symmetric=not data.catalogue)
    known = None if data.catalogue or data.target is not None else Known(*_known(data))
    objective = Objective(model=towers, loss=loss, known=known, precision=precision)
    parts = {"query": towers.query, "document": towers.document, "loss": loss}
    scales = {"document": chosen.prototype_scale} if data.catalogue else {}
    made = groups(parts, weight_decay=recipe.optim.weight_decay, scales=scales, layer_decay=chosen.layer_decay)
    material = Material(data=data, query_tokens=query_tokens, document_tokens=document_tokens)
    return Setup(
        recipe=recipe,
        objective=objective,
        material=material,
        groups=made,
        chosen=chosen,
        facts={
            **chosen.facts(),
            **_loss_facts(chosen, data),
            "chosen.model": kind,
            "chosen.precision": str(precision).removeprefix("torch."),
            "chosen.threads": threads,
            "model.parameters": sum(p.numel() for p in towers.parameters()),
            "model.dimension": towers.dimension,
            "chosen.max_tokens": towers.query.max_tokens,
            "model.tokens": int(query_tokens.lengths.sum()),
        },
    )


def fit(
    setup: Setup, *, folder: Path, measure: Callable[[TwoTower], Readings], progress: Progress, resume: bool = False
) -> Fitted:
    """Train.

    Args:
        setup: from `prepare`.
        folder: of the run; checkpoints and history go there.
        measure: held-out readings of a model; the first decides, higher is better.
        progress: told (step, steps, readings) after every step.
        resume: go on from the folder's checkpoint, if there is one.

    Returns:
        The model with the best held-out metric.

    Raises:
        NonFiniteLossError: a loss was NaN or infinite; the last checkpoint is sound.
        RunError: the folder cannot be written, or its checkpoint belongs to other data or settings.
    """
    began = time.perf_counter()
    path = folder / "checkpoints" / "last.safetensors"
    identity = fingerprint(setup)
    start = checkpoint.load(path) if resume and path.is_file() else None
    if start is not None and start.values["fingerprint"] != identity:
        raise RunError(
            f"the checkpoint in '{folder}' belongs to other data or other settings",
            hint="train into another folder with --out, or without --resume",
        )
    with threaded(setup.facts["chosen.threads"]):
        plan, facts = (_plan(setup, start.values["rate"]), {}) if start else _rated(setup)
    model = setup.objective.model
    journal = Journal(folder / "history.jsonl", keep_until=int(start.values["step"]) if start else 0)

    def record(step: int, readings: Readings) -> None:
        journal.add(step, readings)
        progress(step, plan.steps, readings)

    def keep(state: Checkpoint) -> None:
        journal.flush()
        values = {**state.values, "fingerprint": identity, "rate": plan.learning_rate}
        checkpoint.save(path, replace(state, values=values))

    with threaded(setup.facts["chosen.threads"]), interruptible() as asked_to_stop:
        observer = Observer(
            read=read_step,
            measure=lambda: measure(model),
            record=record,
            keep=keep,
            keep_now=_clock(setup.chosen.checkpoint_every),
            due=lambda number: number % max(1, plan.steps // READINGS) == 0,
            stop=asked_to_stop,
        )
        try:
            best, ended = train(setup.objective, setup.material, setup.groups, plan, observer, start)
        except NonFiniteLossError as error:
            raise _with_texts(error, setup.material.data) from None
        finally:
            journal.flush()
    return Fitted(
        model=model,
        facts={
            **setup.facts,
            **facts,
            "chosen.learning_rate": plan.learning_rate,
            "train.shuffled": True,
            "train.seconds": round(time.perf_counter() - began, 2),
            "train.best_step": best.step,
            "train.stopped": ended,
        },
    )


def _clock(every: int | None) -> Callable[[int], bool]:
    """When a checkpoint is due: every so many steps, or each minute (what a checkpoint holds does not depend on it)."""
    last = time.monotonic()

    def due(step: int) -> bool:
        nonlocal last
        now = time.monotonic()
        if step % every if every else now - last < CHECKPOINT_SECONDS:
            return False
        last = now
        return True

    return due


CHECKPOINT_SECONDS = 60.0
READINGS = 60  # times in a run that the probes read a step


def fingerprint(setup: Setup) -> str:
    """Of the rows and settings a checkpoint belongs to."""
    data = setup.material.data
    sha = hashlib.sha256()
    for texts in (data.query_texts, data.document_texts):
        sha.update(json.dumps(texts, ensure_ascii=False).encode())
    for tensor in (data.query, data.positive, data.negatives, data.group, data.weight):
        sha.update(tensor.numpy().tobytes())
    settings = setup.recipe.model_dump(mode="json", exclude={"run"})
    sha.update(json.dumps(settings, sort_keys=True).encode())
    return sha.hexdigest()[:32]


def make_loss(chosen: Chosen, *, symmetric: bool) -> Loss:
    """The objective of a run."""
    if chosen.loss == "cosent":
        return CoSENT(chosen.temperature)
    if chosen.loss == "cosine":
        return CosineRegression()
    softmax = InfoNCE(chosen.temperature, chosen.margin, chosen.label_smoothing)
    return Symmetric(softmax) if symmetric else softmax


@torch.no_grad()
def class_means(towers: TwoTower, data: Examples, tokens: Tokens) -> torch.Tensor:
    """Mean unit embedding of each class before training, [classes, e]."""
    was = towers.training
    towers.eval()
    chunks = [
        torch.nn.functional.normalize(towers.query(tokens.select(rows)).float(), dim=-1)
        for rows in torch.arange(len(tokens)).split(1024)
    ]
    towers.train(was)
    sums = torch.zeros(len(data.document_texts), towers.dimension)
    sums.index_add_(0, data.group, torch.cat(chunks)[data.query])
    return sums / torch.bincount(data.group, minlength=len(sums)).clamp(min=1)[:, None]


def _check_loss(loss: str, data: Examples) -> None:
    graded = data.target is not None
    if graded != (loss in ("cosent", "cosine")):
        fits = (
            "cosent or cosine" if graded else "infonce" + (" or prototypes" if data.catalogue or data.partners else "")
        )
        raise RecipeError(
            f"loss.kind '{loss}' does not fit {'graded' if graded else 'these'} rows; expected {fits}",
            hint='leave loss.kind at "auto"',
        )


def _towers(kind: str, recipe: Recipe, data: Examples) -> TwoTower:
    settings = recipe.model
    sizes = {
        name: None if value == "auto" else value
        for name in ("dimension", "vocabulary", "layers", "dropout", "max_tokens")
        for value in [getattr(settings, name)]
    }
    if family_of(kind) == "pretrained":
        first, second = (load(kind, dropout=sizes["dropout"], max_tokens=sizes["max_tokens"]) for _ in range(2))
        return first if settings.shared else TwoTower(first.query, second.document)
    texts = data.query_texts if data.catalogue else list(dict.fromkeys(data.query_texts + data.document_texts))
    count = 1 if settings.shared else 2
    return TwoTower(*(build(kind, texts, **sizes, seed=recipe.optim.seed + i) for i in range(count)))


def _known(data: Examples) -> tuple[torch.Tensor, torch.Tensor]:
    return data.query_id[data.query], data.document_id[data.positive]


def _plan(setup: Setup, rate: float) -> Plan:
    chosen, optim = setup.chosen, setup.recipe.optim
    return Plan(
        steps=chosen.steps,
        batch_size=chosen.batch_size,
        learning_rate=rate,
        warmup=chosen.warmup,
        schedule=optim.schedule,
        max_gradient_norm=optim.max_gradient_norm,
        betas=chosen.betas,
        average=chosen.average,
        evaluate_every=chosen.evaluate_every,
        patience=optim.patience,
        seed=optim.seed,
    )


def _rated(setup: Setup) -> tuple[Plan, dict[str, Any]]:
    """The plan with its learning rate, and the facts of the test."""
    wanted = setup.recipe.optim.learning_rate
    if wanted != "auto":
        return _plan(setup, wanted), {}
    plan = _plan(setup, setup.chosen.anchor)
    trial = max(10, min(TRIAL_STEPS, setup.chosen.steps // 20))
    test = learning_rate_test(
        setup.objective, setup.material, setup.groups, plan, anchor=setup.chosen.anchor, trial=trial
    )
    losses = {f"{rate:.2g}": loss for rate, loss in test.losses.items()}
    return replace(plan, learning_rate=test.chosen), {
        "rate_test.losses": losses,
        "rate_test.start": test.start,
        "rate_test.steps": test.steps,
    }


TRIAL_STEPS = 60  # of the learning-rate test: long enough for the schedule, short enough to be repeated


def _loss_facts(chosen: Chosen, data: Examples) -> dict[str, float]:
    """Where the loss starts when all candidates look alike, and how low it can get."""
    if data.target is not None:
        if chosen.loss == "cosine":
            return {"loss.floor": 0.0, "loss.chance": float(data.target.var(correction=0))}
        grades = torch.unique((data.target * GRADES).round(), return_counts=True)[1].double()
        counts = [max(1, round(share * chosen.batch_size)) for share in (grades / grades.sum()).tolist()]
        return {"loss.floor": cosent_floor(counts, chosen.temperature), "loss.chance": cosent_chance(counts)}
    shape = {"margin": chosen.margin, "label_smoothing": chosen.label_smoothing}
    return {
        "loss.floor": infonce_floor(chosen.candidates, chosen.temperature, **shape),
        "loss.chance": infonce_chance(chosen.candidates, chosen.temperature, **shape),
    }


GRADES = 20  # steps on the scale of grades that the levels of CoSENT's loss are worked out with


def _with_texts(error: NonFiniteLossError, data: Examples) -> NonFiniteLossError:
    """The same error with the first texts of the batch, which is what a user can look at."""
    texts = [data.query_texts[int(data.query[row])][:80] for row in error.rows[:3]]
    return NonFiniteLossError(f"{error.message}; texts: {texts}", rows=error.rows, hint=error.hint)
