"""S4.3-S4.20: the repaired DSSM. Negatives by temperature by target, on texts and the standard text of their class.

    python -m studies.negatives [--quick]       writes studies/results/negatives.{json,md}

Classes become pairs of a text and the first text of its class, so that each class has one document: all of them are
the catalogue. The tower is a bag of sub-words with a hidden layer, as the DSSM is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import mean
from typing import Any

import polars as pl

from embedfit.judging import Rows
from embedfit.pairs import Pairs
from studies.common import Outcome, Study, interval, judged, part, rows_of, table, verdicts

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
    """Share of the level of chance by which the loss has fallen."""
    return 1 - (outcome.loss or 0.0) / float(outcome.facts["loss.chance"])


def drawn(found: Mapping[Cell, Sequence[Outcome]]) -> str:
    """The grid as a table."""
    lines = [
        [
            *cell,
            f"{mean(map(fall, runs)):.1%}",
            interval([o.last for o in runs]),
            interval([o.best for o in runs]),
            f"{mean(o.readings['query/mean_direction'] for o in runs):.2f}",
        ]
        for cell, runs in found.items()
    ]
    heads = ["negatives", "objective", "fall of the loss", "recall@10, last", "best", "mean direction"]
    return table(heads, lines)


def of_claims(found: Mapping[Cell, Sequence[Outcome]]) -> str:
    """What becomes of the claims."""
    metric = {cell: [o.last for o in runs] for cell, runs in found.items()}
    falls = {cell: mean(map(fall, runs)) for cell, runs in found.items()}
    one, fixed = ("random 1:4", "scale 1"), (FIRST, "scale 20")
    scales = [("random 1:4", name) for name in ("scale 10", "scale 20", "scale learned from 10")]
    scaled = max(scales, key=lambda cell: mean(metric[cell]))
    low = "reproduced" if falls[one] <= 0.438 else "refuted"
    highest = max(metric, key=lambda cell: mean(metric[cell]))
    good = max(metric[cell] for cell, share in falls.items() if share < 0.9)
    return verdicts(
        {
            "S4.6 at scale 1 the loss falls by less than 43.8 % and stays": (low, f"{falls[one]:.1%}"),
            "S4.3 the first four as negatives: the loss falls, the model is poor": judged(
                metric["random 1:4", "scale 20"],
                metric[fixed],
                claim=f"their loss falls by {falls[fixed]:.0%}; random ones lead",
            ),
            "S4.19 a target below one repairs it": judged(
                metric["random 1:4", "scale 1, target"], metric[one], claim="leads scale 1"
            ),
            "DSSM's smoothing factor repairs it": judged(
                metric[scaled], metric[one], claim=f"{scaled[1]} leads scale 1"
            ),
            "S4.13 only a loss that falls by 90 % makes a good model": (
                "refuted" if good and mean(good) >= mean(metric[highest]) - 0.05 else "reproduced",
                f"{mean(good):.3f} where it falls by less; the best of all, {' / '.join(highest)}, "
                f"{mean(metric[highest]):.3f}",
            ),
        }
    )


if __name__ == "__main__":
    main()
