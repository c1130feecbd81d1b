"""S4.20-S4.22: recall by size of the corpus, number of types and share of types with few examples.

    python -m studies.corpora [--quick]         writes studies/results/corpora.{json,md}

The articles saw three corpora that differ in all three at once, and in chance: ten answers out of 396 types are more of
them than ten out of 1,035. Here they are set one by one, on types drawn from one data set; a text looks for the
standard text of its type, and recall@10 is also shown as the share of the way from chance to 1. Every
run has 300 steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np
import polars as pl
from scipy.optimize import brentq

from embedfit.judging import Rows, readings
from embedfit.pairs import Pairs
from embedfit.team import ALONE
from studies.common import Judge, Outcome, Study, interval, judged, rows_of, table, verdicts
from studies.negatives import against

TYPES = (50, 100, 150)
EACH = (3, 6, 12, 25)  # texts of a type besides its standard text, in the mean
TAILS = ("even", "long")
MOST = 99  # texts of a type that there are, besides its standard text
K = 10
Cell = tuple[int, int, str]


def sizes(types: int, each: int, tail: str) -> list[int]:
    """Texts of each type, `types * each` in all: the same for all, or falling as 1 / rank, from `MOST` down to 1."""
    if tail == "even":
        return [each] * types
    ranks = np.arange(1, types + 1)
    scale = brentq(lambda c: np.clip(c / ranks, 1, MOST).sum() - types * each, 1, MOST * types)
    up_to = np.round(np.clip(scale / ranks, 1, MOST).cumsum()).astype(int)
    return np.diff(up_to, prepend=0).tolist()


def corpus(data: str, seed: int, *, types: int, each: int, tail: str) -> Rows:
    """Texts and standard texts of so many types, drawn by the seed; all held-out texts of those types."""
    rows = rows_of(data, seed)
    assert rows.dev is not None
    draw = np.random.default_rng(seed)
    drawn = draw.permutation(sorted(rows.train.table["label"].unique()))[:types].tolist()
    wanted = pl.DataFrame({"label": drawn, "size": sizes(types, each, tail)})
    texts = rows.train.table.sample(fraction=1.0, shuffle=True, seed=seed).join(wanted, on="label")
    firsts = texts.group_by("label", maintain_order=True).agg(pl.col("text").first().alias("positive"))
    train = texts.filter(pl.int_range(pl.len()).over("label") <= pl.col("size"))
    dev = rows.dev.table.join(wanted, on="label", how="semi")

    def pairs(table_: pl.DataFrame) -> Pairs:
        return Pairs(kind="pairs", table=against(firsts, table_), source=data)

    return Rows(train=pairs(train), dev=pairs(dev))


def standard_texts(rows: Rows) -> Judge:
    """Every corpus looks for types by their standard texts alone: known texts as further keys would be more of them,
    the larger the corpus is."""
    assert rows.dev is not None
    train, dev = rows.train, rows.dev
    return lambda model: readings(model, dev, train, ("documents", "blend"), ALONE)


def beyond_chance(outcome: Outcome, types: int) -> float:
    """Share of the way from the recall of guessing to 1."""
    chance = K / types
    return (outcome.best - chance) / (1 - chance)


def main() -> None:
    """Types by texts by tail."""
    study = Study("corpora", __doc__, seeds=3)
    data = "clinc150"
    types, each = (TYPES[:2], EACH[:2]) if study.quick else (TYPES, EACH)
    settings: Mapping[str, Any] = {
        "model.kind": "static",
        "model.dimension": 64,
        "optim.batch_size": 64,
        "optim.learning_rate": 0.01,
        "optim.length": "20 steps" if study.quick else "300 steps",
        "optim.patience": 1000,
        "run.evaluate_every": "10%",
    }
    found = {
        (t, n, tail): [
            one(study, corpus(data, seed, types=t, each=n, tail=tail), settings, seed=seed, types=t, each=n, tail=tail)
            for seed in study.seeds
        ]
        for t in types
        for n in each
        for tail in TAILS
    }
    study.write("\n\n".join([f"### {data}", drawn(found), of_claims(found)]))


def one(study: Study, rows: Rows, settings: Mapping[str, Any], **cell: Any) -> Outcome:
    """A run on a corpus."""
    return study.run(lambda: rows, settings, judge=standard_texts(rows), keys="standard texts", **cell)


def drawn(found: Mapping[Cell, Sequence[Outcome]]) -> str:
    """The grid as a table."""
    lines = [
        [
            types,
            each,
            tail,
            f"{mean(size <= 3 for size in sizes(types, each, tail)):.0%}",
            interval([o.best for o in runs]),
            interval([beyond_chance(o, types) for o in runs]),
        ]
        for (types, each, tail), runs in found.items()
    ]
    return table(["types", "texts of a type", "tail", "at most 3", "recall@10", "beyond chance"], lines)


def of_claims(found: Mapping[Cell, Sequence[Outcome]]) -> str:
    """Each factor alone: its lowest level against its highest, all else equal."""
    types, each = sorted({t for t, _, _ in found}), sorted({n for _, n, _ in found})

    def values(cells: Sequence[Cell], *, raw: bool = False) -> list[float]:
        """By seed, the mean over cells: cells of one seed share their types, and are no samples of their own."""
        runs = zip(*(found[cell] for cell in cells), strict=True)
        return [
            mean(o.best if raw else beyond_chance(o, cell[0]) for o, cell in zip(of_seed, cells, strict=True))
            for of_seed in runs
        ]

    rich, poor = ([(t, n, tail) for t in types for tail in TAILS] for n in (each[-1], each[0]))
    few, many = ([(t, n, tail) for n in each for tail in TAILS] for t in (types[0], types[-1]))
    even, long = ([(t, n, tail) for t in types for n in each] for tail in TAILS)
    span = f"{types[0]} types lead {types[-1]}"
    return verdicts(
        {
            "S4.22 less data is worse": judged(values(rich), values(poor), claim=f"{each[-1]} lead {each[0]} texts"),
            "S4.22 more types are worse, in recall@10": judged(
                values(few, raw=True), values(many, raw=True), claim=span
            ),
            "S4.22 more types are worse, beyond chance": judged(values(few), values(many), claim=span),
            "S4.22 more types of few texts are worse, at equal texts": judged(
                values(even), values(long), claim="an even corpus leads a long-tailed one"
            ),
        }
    )


if __name__ == "__main__":
    main()
