"""embedfit as a contestant: what its loop does in a step, without probes and held-out measurements."""

from __future__ import annotations

__all__ = ["overhead", "train"]

import copy
import time
from collections.abc import Callable
from typing import Any

import polars as pl
import torch
import torch.nn.functional as F

from benchmarks.speed import texts
from benchmarks.speed.child import Clock
from embedfit.data.batches import batch, rows_of
from embedfit.engine.setup import Setup, prepare
from embedfit.engine.step import train_step
from embedfit.optim import Average, Optimiser
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, patch
from embedfit.types import Batch

TEMPERATURE = 0.05
RATE = 2e-5


def train(model: str, batch_size: int, steps: int, warm_up: int, precision: str) -> dict[str, Any]:
    """Examples per second of our step: batch, towers, loss, gradient, clipping, optimiser, average of the weights."""
    setup, facts = _prepared(model, batch_size, steps + warm_up, precision)
    moved = _loop(setup, batch_size)
    clock, done = Clock(), 0
    for number in range(warm_up + steps):
        if number == warm_up:
            clock.start()
        count = moved(number)
        done += count if number >= warm_up else 0
    return clock.stop(done, **facts)


def overhead(model: str, batch_size: int, steps: int, warm_up: int, precision: str) -> dict[str, Any]:
    """Examples per second of the arithmetic alone, and how much longer our step takes, in CPU time.

    The arithmetic is what nobody can leave out: the towers on tokens that lie there, cosines, cross-entropy in both
    directions, the gradient, and AdamW on the rows and matrices that have one. Steps of both take turns.
    """
    setup, facts = _prepared(model, batch_size, steps + warm_up, precision)
    moved, bare = _loop(setup, batch_size), _arithmetic(setup)
    spent = {"step": 0.0, "arithmetic": 0.0}
    clock, done = Clock(), 0
    clock.start()
    clock.pause()
    for number in range(warm_up + steps):
        made = _batch(setup, number, batch_size)
        began = time.process_time()
        moved(number)
        middle = time.process_time()
        clock.resume()
        bare(made)
        clock.pause()
        if number < warm_up:
            clock.wall = clock.cpu = 0.0
            continue
        done += len(made)
        spent["step"] += middle - began
        spent["arithmetic"] += time.process_time() - middle
    share = 100 * (spent["step"] / spent["arithmetic"] - 1)
    clock.resume()
    return clock.stop(done, overhead=share, **facts)


def _prepared(model: str, batch_size: int, steps: int, precision: str) -> tuple[Setup, dict[str, Any]]:
    """Towers, loss and examples, and what is worth knowing of them."""
    pairs, source = texts.intent_pairs(steps * batch_size)
    table = pl.DataFrame(pairs, schema=["query", "positive"], orient="row")
    change = {
        "model.kind": texts.minilm() if model == "minilm" else model,
        "model.dropout": "auto" if model == "minilm" else 0.0,
        "loss.kind": "infonce",
        "loss.temperature": TEMPERATURE,
        "loss.label_smoothing": 0.0,
        "optim.batch_size": batch_size,
        "optim.length": f"{steps} steps",
        "run.precision": precision,
    }
    setup = prepare(Pairs(kind="pairs", table=table), patch(Recipe(), change))
    tower, tokens = setup.objective.model.query, setup.material.query_tokens
    return setup, {
        "data": source,
        "pairs": len(pairs),
        "parameters": sum(p.numel() for p in setup.objective.model.parameters()),
        "tokens_per_text": round(int(tokens.lengths.sum()) / len(tokens), 1),
        "once": _once(tower.tokenize, setup.material.data.query_texts),
    }


def _batch(setup: Setup, number: int, batch_size: int) -> Batch:
    material = setup.material
    rows = rows_of(number, len(material.data), batch_size=batch_size, seed=0)
    return batch(material.data, material.query_tokens, material.document_tokens, rows, draw=(0, number))


def _loop(setup: Setup, batch_size: int) -> Callable[[int], int]:
    """Our step, by its number; returns the examples in it."""
    objective, chosen = setup.objective, setup.chosen
    optimiser = Optimiser(setup.groups, betas=chosen.betas)
    window = chosen.average * chosen.steps
    average = Average(objective.model, 1 - 1 / window if window > 1 else 0.0)
    objective.model.train()

    def moved(number: int) -> int:
        made = _batch(setup, number, batch_size)
        train_step(objective, made, number=number)
        optimiser.clip(1.0)
        optimiser.step(RATE)
        average.update()
        return len(made)

    return moved


def _arithmetic(setup: Setup) -> Callable[[Batch], None]:
    """The least that a step takes, in plain torch, with weights of its own that are moved too."""
    model = copy.deepcopy(setup.objective.model)
    found: list[torch.optim.Optimizer] = []

    def moved(made: Batch) -> None:
        query, document = (F.normalize(tower(t), dim=-1) for tower, t in (
            (model.query, made.query), (model.document, made.document),
        ))  # fmt: skip
        logits = query @ document.T / TEMPERATURE
        back = torch.arange(len(logits))
        loss = (F.cross_entropy(logits, made.positive) + F.cross_entropy(logits.T[made.positive], back)) / 2
        loss.backward()
        if not found:
            trained = [p for p in model.parameters() if p.grad is not None]
            rows = [p for p in trained if p.grad is not None and p.grad.is_sparse]
            whole = [p for p in trained if p.grad is not None and not p.grad.is_sparse]
            found.extend([torch.optim.SparseAdam(rows, lr=RATE)] if rows else [])
            found.extend([torch.optim.AdamW(whole, lr=RATE, fused=True)] if whole else [])
        for one in found:
            one.step()
            one.zero_grad(set_to_none=True)

    return moved


def _once(tokenize: Any, sentences: list[str]) -> str:
    """What is done once, before the first step, instead of in every one."""
    began = time.perf_counter()
    tokenize(sentences)
    return f"texts tokenised at {len(sentences) / (time.perf_counter() - began):,.0f} per second"
