"""S1.45-S1.52: two towers, late interaction and a cross-encoder on the same pairs: accuracy, by overlap, and latency.

    python -m studies.interaction [--quick]     writes studies/results/interaction.{json,md}

A MiniLM that was pretrained as two towers, English STS-B, one epoch of regression of the grade with each of the three,
at each of RATES; the best of these, by accuracy, stands for each. A pair means the same where its
grade is 3 at least; each threshold is the most accurate one on the held-out pairs, and accuracy is that on the test
pairs, also for the third of them whose sentences share the most words and the third that share the fewest (cosine of
TF-IDF). It is `embedfit.compare_scorers` that measures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.datasets import CELLS
from benchmarks.quality import minilm

from embedfit.engine.fit import fit, prepare
from embedfit.evaluate.matchers import Towers, compare_scorers
from embedfit.interaction import CrossEncoder, MaxSim, Scorer, fit_scorer
from embedfit.losses import CosineRegression
from embedfit.metrics import spearman
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, patch
from embedfit.towers import Encoder, TwoTower, load
from studies.common import Study, interval, judged, table, verdicts

MOST = 96  # tokens of a text, of a pair for the cross-encoder
SAME = 3.0
RATES, BATCH = (5e-5,), 16
DOCUMENTS = 200


def encoder() -> Encoder:
    """A fresh copy of it."""
    tower = load(minilm(), max_tokens=MOST).query
    assert isinstance(tower, Encoder)
    return tower


def two_towers(train: Pairs, dev: Pairs, rate: float, steps: int, seed: int) -> TwoTower:
    """Cosine of two embeddings."""
    settings = {"loss.kind": "cosine", "optim.batch_size": BATCH, "optim.learning_rate": rate, "run.threads": 1,
                "optim.length": f"{steps} steps", "optim.schedule": "linear", "optim.average": 0.0,
                "optim.layer_decay": 1.0, "optim.seed": seed, "run.evaluate_every": "100%"}  # fmt: skip
    made = prepare(train, patch(Recipe(), settings), TwoTower(encoder()))
    model = made.objective.model
    first, second = (dev.table[name].to_list() for name in ("sentence1", "sentence2"))

    def measure(_: TwoTower) -> Mapping[str, float]:
        return {"dev/spearman": spearman(Towers(model).score(first, second), dev.table["score"].to_numpy())}

    with TemporaryDirectory() as folder:
        fit(made, folder=Path(folder), measure=measure, progress=lambda step, steps, found: None, held_out="dev")
    return model


def scored(make: Callable[[Encoder], Scorer], train: Pairs, dev: Pairs, rate: float, steps: int, seed: int) -> Scorer:
    """One of the scorers."""
    del dev  # no step is chosen
    scorer = make(encoder())
    fit_scorer(scorer, train, CosineRegression(), rate=rate, steps=steps, batch_size=BATCH, seed=seed)
    return scorer


WAYS: Mapping[str, Callable[[Pairs, Pairs, float, int, int], TwoTower | Scorer]] = {
    "two towers": two_towers,
    "late interaction": partial(scored, MaxSim),
    "cross-encoder": partial(scored, CrossEncoder),
}


def measured(way: str, rate: float, steps: int, seed: int, rows: int | None = None) -> Mapping[str, Any]:
    """Accuracy, rank correlation and latency of one of them, on the first so many rows of each part."""
    train, dev, test = next(cell for cell in CELLS if cell.name == "stsb English").load(seed)
    assert dev is not None
    if rows:
        train, dev, test = (part.take(list(range(rows))) for part in (train, dev, test))
    found = compare_scorers({way: WAYS[way](train, dev, rate, steps, seed)}, dev, test, same=SAME, documents=DOCUMENTS)
    made = found.ways[way]
    return {
        "accuracy": made.accuracy.value,
        "few shared words": made.few_shared.value,
        "many shared words": made.many_shared.value,
        "spearman": float(spearman(made.similarity, test.table["score"].to_numpy())),
        "milliseconds": 1000 * made.seconds,
    }


def accuracy(rows: Sequence[Mapping[str, Any]]) -> float:
    """The mean over the seeds."""
    return mean(row["accuracy"] for row in rows)


def main() -> None:
    """All three."""
    study = Study("interaction", __doc__, seeds=3)
    steps = 2 if study.quick else 360
    rates = RATES[:1] if study.quick else RATES
    every = {
        (way, rate): [
            study.cell(
                partial(measured, way, rate, steps, seed, 60 if study.quick else None),
                way=way,
                seed=seed,
                steps=steps,
                rate=rate,
                batch=BATCH,
            )
            for seed in study.seeds
        ]
        for way in WAYS
        for rate in rates
    }
    names = ("accuracy", "few shared words", "many shared words", "spearman")
    lines = [
        [way, rate, *(interval([r[n] for r in rows]) for n in names), interval([r["milliseconds"] for r in rows], 1)]
        for (way, rate), rows in every.items()
    ]
    found = {way: max((every[way, rate] for rate in rates), key=accuracy) for way in WAYS}
    heads = [
        "scorer",
        "rate",
        "accuracy",
        "few shared words",
        "many shared words",
        "spearman",
        f"ms for {DOCUMENTS} documents",
    ]
    cross, towers = found["cross-encoder"], found["two towers"]

    def gap(name: str) -> list[float]:
        return [c[name] - t[name] for c, t in zip(cross, towers, strict=True)]

    times = [c["milliseconds"] / t["milliseconds"] for c, t in zip(cross, towers, strict=True)]
    claims = {
        "S1.49 interaction leads two towers in accuracy": judged(
            [r["accuracy"] for r in cross], [r["accuracy"] for r in towers]
        ),
        "S1.50 the lead is where texts share many words": judged(
            gap("many shared words"), gap("few shared words"), claim="the lead there is greater"
        ),
        "S1.45 interaction is slow in retrieval": (
            "reproduced" if min(times) > 2 else "refuted",
            f"{min(times):.0f} times as long for {DOCUMENTS} documents, and growing with their number",
        ),
    }
    study.write("\n\n".join([table(heads, lines), verdicts(claims)]))


if __name__ == "__main__":
    main()
