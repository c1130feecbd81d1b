"""S3.13-S3.21: the hinge on hardest negatives, by batch size, plain and in stages, at equal examples and equal steps.

    python -m studies.collapse [--quick]        writes studies/results/collapse.{json,md}

Pairs of English STS-B sentences that mean about the same (grade 3 and more), one LSTM from scratch whose last state is
the embedding, no warmup: the cold start of the articles; Adagrad, as in FaceNet, and Adam. A run has collapsed when its
loss ends within 5 % of what equal embeddings give, which is the margin, and the mean unit embedding of its queries is
longer than 0.9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import polars as pl

from embedfit.judging import Rows
from embedfit.pairs import Pairs
from studies.common import Outcome, Study, interval, rows_of, table, verdicts

MARGIN = 0.3
LARGE = 1024
LEARNED = 0.05  # recall@10 that a run must gain to count as one that learns
STAGES = (32, 8, 2)  # the large batch is divided by these, a quarter of the examples each
BASE: Mapping[str, Any] = {
    "model.kind": "lstm",
    "model.dimension": 64,
    "model.max_tokens": 16,
    "loss.margin": MARGIN,
    "optim.schedule": "constant",
    "optim.warmup": "0%",
    "optim.average": 0.0,
    "optim.patience": 1000,
    "run.evaluate_every": "25%",
    "curriculum.guard": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What moves the weights.

    Attributes:
        settings: of the optimiser.
        rate: its learning rate.
        steps: of the large batch alone.
        seeds: how many at most.
    """

    settings: Mapping[str, Any]
    rate: float
    steps: int
    seeds: int


MOVES: Mapping[str, Move] = {
    # as in FaceNet
    "adagrad, rate 0.01": Move(settings={"optim.kind": "adagrad"}, rate=0.01, steps=40, seeds=10),
    "adam, rate 0.001": Move(settings={"optim.kind": "adam", "optim.weight_decay": 0.0}, rate=0.001, steps=60, seeds=3),
}
HARDEST = {"loss.kind": "hinge", "loss.negatives": "hardest"}
PLAIN, LONGER, STAGED = "plain", "plain, as many steps as staged", "staged"
STAYED = "staged, then all examples again at the large batch"
HOMOTOPY = "homotopy"
GUARDED = "plain with the guard, as many steps"
ENTROPY_FIRST, WARMED = "cross-entropy, then hinge", "plain, warmup over a quarter"


def ways(large: int, steps: int, rate: float) -> Mapping[str, Mapping[str, Any]]:
    """Settings by name; `steps` is what the large batch alone takes for its examples."""
    sizes = [*(max(2, large // by) for by in STAGES), large]

    def grown(share: float) -> list[dict[str, Any]]:
        return [{"until": f"{share * (i + 1)}%", "batch_size": size} for i, size in enumerate(sizes[:-1])]

    equal = {"optim.batch_size": large, "optim.length": f"{steps * large} examples"}
    longer = {"optim.batch_size": large, "optim.length": f"{round(sum(steps * large / 4 / b for b in sizes))} steps"}
    entropy = [{"until": "50%", "loss": {"kind": "infonce", "margin": 0.0}}]
    return {
        PLAIN: {**HARDEST, **equal},
        LONGER: {**HARDEST, **longer},
        STAGED: {**HARDEST, **equal, "curriculum.stages": grown(25)},
        STAYED: {**HARDEST, **equal, "optim.length": f"{2 * steps * large} examples", "curriculum.stages": grown(12.5)},
        GUARDED: {**HARDEST, **longer, "curriculum.guard": True},
        **{f"plain, batch of {b}": {**HARDEST, **equal, "optim.batch_size": b} for b in sizes[:-1]},
        ENTROPY_FIRST: {**HARDEST, **equal, "curriculum.stages": entropy},
        WARMED: {**HARDEST, **equal, "optim.warmup": "25%"},
        "plain, a tenth of the rate": {**HARDEST, **equal, "optim.learning_rate": rate / 10},
        "semi-hard": {"loss.kind": "hinge", "loss.negatives": "semi_hard", **equal},
        "all negatives": {"loss.kind": "hinge", "loss.negatives": "all", **equal},
        HOMOTOPY: {"loss.kind": "homotopy", **equal},
        "cross-entropy": {"loss.kind": "infonce", "loss.margin": 0.0, **equal},
    }


def close(data: str, seed: int) -> Rows:
    """Pairs of sentences that mean about the same; other data as they are."""
    rows = rows_of(data, seed)
    if rows.train.kind != "graded":
        return rows
    assert rows.dev is not None

    def pairs(graded: Pairs) -> Pairs:
        near = graded.table.filter((pl.col("score") >= 3) & (pl.col("sentence1") != pl.col("sentence2")))
        near = near.select(query="sentence1", positive="sentence2").unique(maintain_order=True)
        return Pairs(kind="pairs", table=near, source=graded.source)

    return Rows(train=pairs(rows.train), dev=pairs(rows.dev))


def collapsed(found: Outcome, way: str) -> bool:
    """By loss and direction, see above; a loss that is no number has not collapsed, it has burst."""
    level = found.facts.get("loss.chance", MARGIN)
    if way == HOMOTOPY:  # margin + temperature log(candidates), and the temperature falls to a tenth
        level = MARGIN + (level - MARGIN) / 10
    at_level = found.loss is not None and abs(found.loss - level) <= 0.05 * level
    return at_level and found.readings.get("query/mean_direction", 0.0) > 0.9


def count(found: Mapping[str, Sequence[Outcome]], way: str) -> int:
    """How many runs of a way have collapsed."""
    return sum(collapsed(run, way) for run in found[way])


def main() -> None:
    """All ways, ten seeds: seeds outermost, so that a part of them is a table too."""
    study = Study("collapse", __doc__, data=["stsb English"], seeds=10)
    text = []
    for data in study.data:
        for name, move in MOVES.items():
            large, steps = (64, 3) if study.quick else (LARGE, move.steps)
            asked = ways(large, steps, move.rate)
            found: dict[str, list[Outcome]] = {way: [] for way in asked}
            for seed in study.seeds[: move.seeds]:
                for way, settings in asked.items():
                    every = {**BASE, **move.settings, "optim.learning_rate": move.rate, **settings}
                    found[way].append(study.run(partial(close, data, seed), every, seed=seed, data=data, way=way))
            text += [f"### {data}, {name}, batches of {large:,}", drawn(found), judged(found)]
            study.write("\n\n".join(text))  # after each: what is done is a page


def drawn(found: Mapping[str, Sequence[Outcome]]) -> str:
    """The table of one way of moving the weights."""
    lines = [
        [
            way,
            f"{median(o.facts['chosen.steps'] for o in runs):g}",
            f"{count(found, way)} of {len(runs)}",
            interval([o.last for o in runs]),
            interval([o.loss for o in runs if o.loss is not None]),
            f"{median(o.readings['query/mean_direction'] for o in runs):.2f}",
        ]
        for way, runs in found.items()
    ]
    lines.append(["untrained", "0", "", interval([o.curve[0][1] for o in found[PLAIN]]), "", ""])
    return table(["way", "steps", "collapsed", "recall@10", "loss at the end", "mean direction"], lines)


def judged(found: Mapping[str, Sequence[Outcome]]) -> str:
    """What becomes of the claims."""
    runs = len(found[PLAIN])
    short, long, staged, stayed = (count(found, way) for way in (PLAIN, LONGER, STAGED, STAYED))
    said = f"plain {short} of {runs} at equal examples, {long} of {runs} at equal steps"
    most = runs / 2
    both, either = min(short, long) > most, max(short, long) > most
    when = "reproduced" if both else "refined" if either else "refuted"
    guarded = [o for o in found[GUARDED] if o.facts.get("train.returns")]
    grown = "open" if not either else "reproduced" if both and not staged + stayed else "refuted"
    if either and grown == "refuted" and max(staged, stayed) < max(short, long) / 2:
        grown = "refined"
    return verdicts(
        {
            "S3.13 the plain hinge collapses at the large batch": (when, said),
            "S3.19 growing the batch in stages does not": (
                grown,
                f"staged {staged} of {runs}, {stayed} of {runs} after all examples again at the large batch; {said}",
            ),
            "S3.15 cross-entropy first is a stable start": held(count(found, ENTROPY_FIRST), short, runs),
            "FaceNet: semi-hard negatives do not collapse": held(count(found, "semi-hard"), short, runs),
            "a lower rate is a cure": cured(found, "plain, a tenth of the rate", short),
            "warmup is a cure": cured(found, WARMED, short),
            "the guard brings a collapsed run back": (
                held(count(found, GUARDED), long, runs)[0],
                f"{count(found, GUARDED)} of {runs} end collapsed; it stepped in {len(guarded)} times",
            ),
        }
    )


def held(fell: int, plain: int, runs: int) -> tuple[str, str]:
    """The verdict on what is said to collapse in no run where the plain hinge does in most."""
    said = f"{fell} of {runs} collapse, plain {plain} of {runs}"
    if plain <= runs / 2:
        return "open", said
    return ("reproduced" if fell == 0 else "refined" if fell < plain / 2 else "refuted", said)


def cured(found: Mapping[str, Sequence[Outcome]], way: str, plain: int) -> tuple[str, str]:
    """The verdict on a cure: what does not collapse must learn something, too."""
    runs = found[way]
    word, said = held(count(found, way), plain, len(runs))
    before, after = median(o.curve[0][1] for o in runs), median(o.last for o in runs)
    said = f"{said}; recall@10 from {before:.3f} to {after:.3f}"
    return ("refined" if word == "reproduced" and after < before + LEARNED else word), said


if __name__ == "__main__":
    main()
