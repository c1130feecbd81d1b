"""S4.3-S4.20: the repaired DSSM. Negatives by temperature by target, on texts and the standard text of their class.

    python -m studies.negatives                 writes studies/results/negatives.{json,md}
    python -m studies.negatives --quick

Classes become pairs of a text and the first other text of its class, so that each class has one document: all of them
are the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import mean
from typing import Any

import polars as pl

from embedfit.judging import Rows
from embedfit.pairs import Pairs
from studies.common import arguments, interval, keep, rows_of, run, table, verdicts

RANDOM = {"negatives.kind": "random", "negatives.each": 4, "negatives.meet": "own"}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "first four": {"negatives.meet": "own"},
    "random 1:4": RANDOM,
    "random 1:19": {**RANDOM, "negatives.each": 19},
    "in-batch 64": {},
    "in-batch 256": {"optim.batch_size": 256},
    "mined 1:4": {"negatives.kind": "mined", "negatives.each": 4, "negatives.meet": "own"},
}
ASKED: Mapping[str, Mapping[str, Any]] = {
    "scale 1": {"loss.kind": "infonce", "loss.temperature": 1.0},
    "scale 1, target": {"loss.kind": "target", "loss.temperature": 1.0},
    "scale 10": {"loss.kind": "infonce", "loss.temperature": 0.1},
    "scale 20": {"loss.kind": "infonce", "loss.temperature": 0.05},
}


def as_pairs(rows: Rows, *, first: int = 0) -> Rows:
    """A text and the first text of its class; with the first so many documents as everybody's negatives."""
    if rows.train.kind == "pairs":
        table_, dev = rows.train.table.select("query", "positive"), rows.dev
    else:
        firsts = rows.train.table.group_by("label", maintain_order=True).agg(pl.col("text").first().alias("positive"))
        table_ = (
            rows.train.table.join(firsts, on="label", maintain_order="left")
            .select(pl.col("text").alias("query"), "positive")
            .filter(pl.col("query") != pl.col("positive"))
        )
        assert rows.dev is not None
        held_out = rows.dev.table.join(firsts, on="label", maintain_order="left")
        dev = Pairs(
            kind="pairs", table=held_out.select(pl.col("text").alias("query"), "positive"), source=rows.dev.source
        )
    documents = table_["positive"].unique(maintain_order=True)[:first]
    brought = [pl.lit(text).alias(f"negative_{i + 1}") for i, text in enumerate(documents)]
    return replace(
        rows, train=Pairs(kind="pairs", table=table_.with_columns(brought), source=rows.train.source), dev=dev
    )


def main() -> None:
    """The grid."""
    asked = arguments(__doc__, data=["clinc150"], seeds=3)
    rows, text = [], []
    ways = {k: WAYS[k] for k in ("first four", "random 1:4", "mined 1:4")} if asked.quick else WAYS
    for data in asked.data:
        lines, metric, fall = [], {}, {}
        for way, brought in ways.items():
            for name, objective in ASKED.items():
                found = []
                for seed in range(asked.seeds):
                    more = {
                        "model.kind": "lstm" if not asked.quick else "static",
                        "optim.learning_rate": 1e-3,
                        "optim.batch_size": 64,
                        "optim.length": "1 epoch" if asked.quick else "15 epochs",
                        "optim.schedule": "constant",
                        "loss.label_smoothing": 0.0,
                        **brought,
                        **objective,
                    }
                    pairs = as_pairs(rows_of(data, seed), first=4 if way == "first four" else 0)
                    found.append(run(pairs, more, seed=seed))
                metric[way, name] = mean(o.best for o in found)
                fall[way, name] = mean(1 - o.loss / float(o.facts["loss.chance"]) for o in found)
                rows.append(
                    {
                        "data": data,
                        "way": way,
                        "objective": name,
                        "metrics": [o.best for o in found],
                        "fall": fall[way, name],
                    }
                )
                lines.append(
                    [
                        way,
                        name,
                        f"{fall[way, name]:.0%}",
                        interval([o.best for o in found]),
                        f"{mean(o.readings.get('query/mean_direction', 0.0) for o in found):.2f}",
                    ]
                )
        heads = ["negatives", "objective", "fall of the loss", "best recall@10", "mean direction"]
        text += [f"### {data}", table(heads, lines)]
        one, better = ("random 1:4", "scale 1"), [("random 1:4", n) for n in ASKED if n != "scale 1"]
        text.append(
            verdicts(
                {
                    "S4.6 the loss falls by less than 43.8 % and stays": _judge(fall[one] < 0.438, f"{fall[one]:.1%}"),
                    "S4.3 the first four as negatives: a low loss, a poor model": _judge(
                        metric["first four", "scale 20"] < metric["random 1:4", "scale 20"],
                        f"{metric['first four', 'scale 20']:.3f} against {metric['random 1:4', 'scale 20']:.3f}",
                    ),
                    "S4.19 the target, or a scale, repairs it": _judge(
                        max(metric[k] for k in better) > metric[one],
                        f"{max(metric[k] for k in better):.3f} against {metric[one]:.3f}",
                    ),
                }
            )
        )
    keep("negatives", rows, "\n\n".join(text), asked)


def _judge(holds: bool, why: str) -> tuple[str, str]:
    return ("reproduced" if holds else "refuted", why)


if __name__ == "__main__":
    main()
