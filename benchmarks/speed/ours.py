"""embedfit as a contestant: what its loop does in a step, without probes and held-out measurements."""

from __future__ import annotations

__all__ = ["train"]

import time
from typing import Any

import polars as pl

from benchmarks.speed import texts
from benchmarks.speed.child import Clock
from embedfit.data.batches import batch, rows_of
from embedfit.engine.setup import prepare
from embedfit.engine.step import train_step
from embedfit.optim import Average, Optimiser
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, patch

TEMPERATURE = 0.05


def train(model: str, batch_size: int, steps: int, warm_up: int, precision: str) -> dict[str, Any]:
    """Examples per second of our step: batch, towers, loss, gradient, clipping, optimiser, average of the weights."""
    pairs, source = texts.intent_pairs((warm_up + steps) * batch_size)
    table = pl.DataFrame(pairs, schema=["query", "positive"], orient="row")
    change = {
        "model.kind": texts.minilm() if model == "minilm" else model,
        "model.dropout": "auto" if model == "minilm" else 0.0,
        "loss.kind": "infonce",
        "loss.temperature": TEMPERATURE,
        "loss.label_smoothing": 0.0,
        "optim.batch_size": batch_size,
        "optim.length": f"{warm_up + steps} steps",
        "run.precision": precision,
    }
    setup = prepare(Pairs(kind="pairs", table=table), patch(Recipe(), change))
    objective, material, chosen = setup.objective, setup.material, setup.chosen
    facts = {
        "data": source,
        "pairs": len(pairs),
        "parameters": sum(p.numel() for p in objective.model.parameters()),
        "tokens_per_text": round(int(material.query_tokens.lengths.sum()) / len(material.query_tokens), 1),
        "once": _once(objective.model.query.tokenize, material.data.query_texts),
    }
    optimiser = Optimiser(setup.groups, betas=chosen.betas)
    window = chosen.average * chosen.steps
    average = Average(objective.model, 1 - 1 / window if window > 1 else 0.0)
    objective.model.train()
    clock, done = Clock(), 0
    for number in range(warm_up + steps):
        if number == warm_up:
            clock.start()
        rows = rows_of(number, len(material.data), batch_size=batch_size, seed=0)
        made = batch(material.data, material.query_tokens, material.document_tokens, rows, draw=(0, number))
        train_step(objective, made, number=number)
        optimiser.clip(1.0)
        optimiser.step(2e-5)
        average.update()
        done += len(rows) if number >= warm_up else 0
    return clock.stop(done, **facts)


def _once(tokenize: Any, sentences: list[str]) -> str:
    """What is done once, before the first step, instead of in every one."""
    began = time.perf_counter()
    tokenize(sentences)
    return f"texts tokenised at {len(sentences) / (time.perf_counter() - began):,.0f} per second"
