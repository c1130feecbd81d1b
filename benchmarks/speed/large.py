"""Row: one step with a batch that no graph of activations fits beside."""

from __future__ import annotations

__all__ = ["rows", "step"]

from typing import Any

from benchmarks.speed.measure import Comparison, Options

PAIRS = 32_768
MEMORY_GB = 4.0
"""Of graphs kept; the rest of the wanted 8 GiB is for weights, gradients, embeddings and libraries."""


def rows(options: Options) -> list[Comparison]:
    """A MiniLM, 32,768 pairs of short texts, all of them each other's negatives in both directions."""
    sizes = {"pairs": 64, "memory_gb": 1e-3} if options.quick else {"pairs": PAIRS, "memory_gb": MEMORY_GB}
    reading = options.play("large:step", **sizes)
    setting = {**sizes, **reading.facts, "threads": options.threads}
    what = f"one step of a MiniLM, {sizes['pairs']:,} pairs, whole batch as negatives, {reading.facts['precision']}"
    common: dict[str, Any] = {"row": "large", "least": False, "absolute": True, "setting": setting}
    return [
        Comparison(
            what=f"{what}: peak memory of the process", unit="MB", ours=[reading.peak_mb], wanted=8192.0, **common
        ),
        Comparison(what=what, unit="s", ours=[reading.wall], **common),
        Comparison(what=f"{what}: CPU time", unit="s", ours=[reading.cpu], **common),
    ]


def step(pairs: int, memory_gb: float) -> dict[str, Any]:
    """One `train_step`, which embeds what does not fit twice, and one step of the optimiser."""
    import polars as pl

    from benchmarks.speed import texts
    from benchmarks.speed.child import Clock
    from embedfit.data.batches import batch, rows_of
    from embedfit.engine.setup import prepare
    from embedfit.engine.step import train_step
    from embedfit.optim import Optimiser
    from embedfit.pairs import Pairs
    from embedfit.recipe import Recipe, patch

    made, source = _pairs(pairs)
    change = {
        "model.kind": texts.minilm(),
        "loss.kind": "infonce",
        "loss.temperature": 0.05,
        "optim.batch_size": pairs,
        "optim.length": "1 steps",
        "run.memory_gb": memory_gb,
    }
    table = pl.DataFrame(made, schema=["query", "positive"], orient="row")
    setup = prepare(Pairs(kind="pairs", table=table), patch(Recipe(), change))
    objective, material = setup.objective, setup.material
    optimiser = Optimiser(setup.groups, betas=setup.chosen.betas)
    objective.model.train()
    clock = Clock()
    clock.start()
    rows = rows_of(0, pairs, batch_size=pairs, seed=0)
    whole = batch(material.data, material.query_tokens, material.document_tokens, rows)
    loss = train_step(objective, whole, number=0).loss
    optimiser.clip(1.0)
    optimiser.step(2e-5)
    tokens = int(whole.query.lengths.sum() + whole.document.lengths.sum())
    precision = str(objective.precision).removeprefix("torch.")
    return clock.stop(pairs, data=source, tokens=tokens, precision=precision, loss=round(loss, 3))


def _pairs(count: int) -> tuple[list[tuple[str, str]], str]:
    """Pairs of real short texts; in each round through them with another word, so that all texts differ."""
    from benchmarks.speed import texts

    real, source = texts.intent_pairs()
    words = sorted({word for pair in real for text in pair for word in text.split() if word.isalpha()})
    made = []
    for i in range(count):
        (query, document), word = real[i % len(real)], words[7 * i % len(words)]
        made.append((f"{query} {word}", f"{document} {word}"))
    return made, f"{source}, each with a word more"
