"""S4.3-S4.20: the repaired DSSM. Negatives by temperature by target, on texts and the standard text of their class.

    python -m studies.negatives [--quick]       writes studies/results/negatives.{json,md}

Classes become pairs of a text and the first text of its class, so that each class has one document: all of them are
the catalogue. The tower is a bag of sub-words with a hidden layer, as the DSSM is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import mean
from typing import Any

import numpy as np
import polars as pl

from embedfit.judging import Rows
from embedfit.metrics import spearman
from embedfit.pairs import Pairs
from studies.common import Outcome, Study, interval, judged, lead, part, rows_of, table, verdicts

RANDOM = {"negatives.kind": "random", "negatives.each": 4, "negatives.meet": "own"}
FIRST = "first four"
WAYS: Mapping[str, Mapping[str, Any]] = {
    FIRST: {"negatives.meet": "own"},
    "random 1:4": RANDOM,
    "random 1:19": {**RANDOM, "negatives.each": 19},
    "in-batch 64": {},
    "in-batch 256": {"optim.batch_size": 256},
    "mined 1:4": {"negatives.kind": "mined", "negatives.each": 4, "negatives.meet": "own"},
}
ASKED: Mapping[str, Mapping[str, Any]] = {
    "scale 1": {"loss.kind": "infonce", "loss.temperature": 1.0},
    "scale 1, target": {"loss.kind": "target", "loss.temperature": 1.0},
    "scale 1, target, clipped": {"loss.kind": "target", "loss.temperature": 1.0, "loss.target_form": "clipped"},
    "scale 10": {"loss.kind": "infonce", "loss.temperature": 0.1},
    "scale 20": {"loss.kind": "infonce", "loss.temperature": 0.05},
    "scale learned from 10": {"loss.kind": "infonce", "loss.temperature": 0.1, "loss.learned": True},
}
Cell = tuple[str, str]
ROWS = 5_000
MOST = 0.438  # that the loss of one positive and four negatives can fall by at scale 1, see `probes.attainable`


def as_pairs(data: str, seed: int, *, first: int = 0) -> Rows:
    """A text and the first text of its class; with the first so many documents as everybody's negatives."""
    rows = part(rows_of(data, seed), ROWS, seed)
    assert rows.dev is not None
    if rows.train.kind == "pairs":
        train, dev = rows.train.table.select("query", "positive"), rows.dev
    else:
        firsts = rows.train.table.group_by("label", maintain_order=True).agg(pl.col("text").first().alias("positive"))
        of = partial(against, firsts)
        train = of(rows.train.table)
        dev = Pairs(kind="pairs", table=of(rows.dev.table), source=rows.dev.source)
    documents = train["positive"].unique(maintain_order=True)[:first]
    brought = [pl.lit(text).alias(f"negative_{i + 1}") for i, text in enumerate(documents)]
    return replace(
        rows, train=Pairs(kind="pairs", table=train.with_columns(brought), source=rows.train.source), dev=dev
    )


def against(firsts: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Each text with the first text of its class."""
    joined = texts.join(firsts, on="label", maintain_order="left")
    return joined.select(pl.col("text").alias("query"), "positive").filter(pl.col("query") != pl.col("positive"))


def main() -> None:
    """The grid."""
    study = Study("negatives", __doc__, data=["clinc150"], seeds=3)
    ways = {k: WAYS[k] for k in (FIRST, "random 1:4", "mined 1:4")} if study.quick else WAYS
    text = []
    for data in study.data:
        found = {
            (way, name): [
                study.run(
                    partial(as_pairs, data, seed, first=4 if way == FIRST else 0),
                    settings_for(way, name, "1 epoch" if study.quick else "6 epochs"),
                    seed=seed,
                    data=data,
                    way=way,
                )
                for seed in study.seeds
            ]
            for way in ways
            for name in ASKED
        }
        text += [f"### {data}", drawn(found), of_claims(found)]
    study.write("\n\n".join(text))


def settings_for(way: str, asked: str, length: str) -> dict[str, Any]:
    """One cell of the grid."""
    return {
        "model.kind": "static",
        "model.layers": 1,
        "model.dimension": 128,
        "optim.learning_rate": 3e-3,
        "optim.batch_size": 64,
        "optim.length": length,
        "optim.schedule": "constant",
        "optim.average": 0.0,
        "optim.patience": 1000,
        "loss.label_smoothing": 0.0,
        "run.evaluate_every": "25%",
        **WAYS[way],
        **ASKED[asked],
    }


def fall(outcome: Outcome) -> float:
    """Share of the level of chance by which the loss has fallen; NaN where it was no number."""
    return math.nan if outcome.loss is None else 1 - outcome.loss / float(outcome.facts["loss.chance"])


def drawn(found: Mapping[Cell, Sequence[Outcome]]) -> str:
    """The grid as a table."""
    lines = [
        [
            *cell,
            f"{mean(map(fall, runs)):.1%}",
            interval([o.curve[0][1] for o in runs]),
            interval([o.last for o in runs]),
            f"{mean(o.readings['query/mean_direction'] for o in runs):.2f}",
        ]
        for cell, runs in found.items()
    ]
    return table(["negatives", "objective", "fall of the loss", "untrained", "recall@10", "mean direction"], lines)


def of_claims(found: Mapping[Cell, Sequence[Outcome]]) -> str:
    """What becomes of the claims."""
    metric = {cell: [o.last for o in runs] for cell, runs in found.items()}
    falls = {cell: mean(map(fall, runs)) for cell, runs in found.items()}
    one, fixed = ("random 1:4", "scale 1"), (FIRST, "scale 20")
    fell = falls[one]
    carried = spearman(np.array(list(falls.values())), np.array([mean(metric[cell]) for cell in falls]))
    highest = max(metric, key=lambda cell: mean(metric[cell]))
    less = max((cell for cell, share in falls.items() if share < 0.9), key=lambda cell: mean(metric[cell]))
    return verdicts(
        {
            "S4.6 with random negatives at scale 1 the loss falls by less than a quarter": (
                "reproduced" if fell < 0.25 else "refined" if fell <= MOST else "refuted",
                f"by {fell:.1%}, of {MOST:.1%} that are possible",
            ),
            "S4.3 the first four as negatives: the loss falls, the model is poor": judged(
                metric["random 1:4", "scale 20"],
                metric[fixed],
                claim=f"their loss falls by {falls[fixed]:.0%}; random ones lead",
            ),
            "S4.19 a target below one repairs it": repaired(metric),
            "a scale of 10 repairs it better": judged(
                metric["random 1:4", "scale 10"], metric["random 1:4", "scale 1, target"], claim="leads the target"
            ),
            "S4.13 only a loss that falls by 90 % makes a good model": (
                "refuted" if mean(metric[less]) >= mean(metric[highest]) - 0.05 else "reproduced",
                f"{' / '.join(less)}: {falls[less]:.1%}, {mean(metric[less]):.3f}; the best of all, "
                f"{' / '.join(highest)}: {falls[highest]:.1%}, {mean(metric[highest]):.3f}; rank correlation of fall "
                f"and recall {carried:.2f}",
            ),
        }
    )


def repaired(metric: Mapping[Cell, Sequence[float]]) -> tuple[str, str]:
    """Whether the target leads scale 1, by negatives."""
    leads = {
        way: lead(metric[way, "scale 1, target"], metric[way, "scale 1"])
        for way in dict.fromkeys(way for way, _ in metric)
        if way != FIRST
    }
    said = ", ".join(f"{way} {by:+.3f} ± {half:.3f}" for way, (by, half) in leads.items())
    clear = [by > half for by, half in leads.values()]
    return "reproduced" if all(clear) else "refined" if any(clear) else "refuted", f"leads scale 1: {said}"


if __name__ == "__main__":
    main()
