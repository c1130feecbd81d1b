"""S1.14-S1.22: softmax, additive margins and the simpler A-softmax, judged on classes that training never saw.

    python -m studies.unseen [--quick]          writes studies/results/unseen.{json,md}

The recipe of the article: a GRU, prototypes of the training classes, scale 30, and an exam among texts of unseen
classes only: is a text of the same class among the nearest 1, 5, 10? Classes are divided by the seed, half and half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from embedfit.judging import Rows
from embedfit.pairs import Pairs
from embedfit.towers import TwoTower
from studies.common import Judge, Outcome, Study, interval, judged, rows_of, table, verdicts

SCALE = {"loss.kind": "prototypes", "loss.temperature": 1 / 30}
LOSSES: Mapping[str, Mapping[str, Any]] = {
    "softmax, scale 30": SCALE,
    "additive margin 0.35": {**SCALE, "loss.margin": 0.35},
    "least of cos 4a, cos a": {**SCALE, "loss.margin": 4, "loss.margin_kind": "least"},
    "angular margin 0.5": {**SCALE, "loss.margin": 0.5, "loss.margin_kind": "angular"},
    "margin of half the class diameter": {**SCALE, "loss.margin_kind": "diameter"},
    "margin of the class diameter": {**SCALE, "loss.margin_kind": "diameter", "loss.margin": 1.0},
    "softmax, scale 1": {**SCALE, "loss.temperature": 1.0},
    "texts of the batch, no prototypes": {"loss.kind": "infonce"},
}
TOPS = (1, 5, 10)


def divided(data: str, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Training texts of one half of the classes, held-out texts of the other."""
    rows = rows_of(data, seed)
    assert rows.dev is not None
    labels = np.random.default_rng(seed).permutation(sorted(rows.train.table["label"].unique()))
    known = pl.col("label").is_in(labels[: len(labels) // 2].tolist())
    return rows.train.table.filter(known), rows.dev.table.filter(~known)


def known_classes(data: str, seed: int) -> Rows:
    """The training rows; what they are judged on is `among_themselves`."""
    train = Pairs(kind="classes", table=divided(data, seed)[0], source=data)
    return Rows(train=train, dev=train)


def among_themselves(data: str, seed: int) -> Judge:
    """How often one of the nearest other texts is of the same class."""
    unseen = divided(data, seed)[1]
    texts, labels = unseen["text"].to_list(), unseen["label"].to_numpy()

    def judge(model: TwoTower) -> Mapping[str, float]:
        vectors = model.encode(texts, role="query")
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, -2)
        nearest = np.argsort(-cosines, axis=1)[:, : max(TOPS)]
        same = labels[nearest] == labels[:, None]
        return {f"dev/top{k}": float(same[:, :k].any(1).mean()) for k in TOPS}

    return judge


def main() -> None:
    """All losses."""
    study = Study("unseen", __doc__, data=["clinc150", "banking77"], seeds=5)
    text = []
    for data in ["clinc150"] if study.quick else study.data:
        found = {
            name: [
                study.run(
                    partial(known_classes, data, seed),
                    {
                        "model.kind": "gru",
                        "model.dimension": 32 if study.quick else 128,
                        "model.max_tokens": 32,
                        "optim.batch_size": 100,
                        "optim.learning_rate": 3e-3,
                        "optim.length": "10 steps" if study.quick else "500 steps",
                        "optim.patience": 1000,
                        "run.evaluate_every": "20%",
                        **settings,
                    },
                    seed=seed,
                    judge=among_themselves(data, seed),
                    data=data,
                    way=name,
                )
                for seed in study.seeds
            ]
            for name, settings in LOSSES.items()
        }
        text += [f"### {data}", drawn(found), of_claims(found)]
    study.write("\n\n".join(text))


def drawn(found: Mapping[str, Sequence[Outcome]]) -> str:
    """The table of one data set."""
    lines = [
        [name, *(interval([o.readings[f"dev/top{k}"] for o in runs]) for k in TOPS)] for name, runs in found.items()
    ]
    lines.append(["untrained", interval([o.curve[0][1] for o in next(iter(found.values()))]), "", ""])
    return table(["loss", *(f"top {k}" for k in TOPS)], lines)


def of_claims(found: Mapping[str, Sequence[Outcome]]) -> str:
    """What becomes of the claims, at the end of training."""
    last = {name: [o.last for o in runs] for name, runs in found.items()}
    softmax, additive, least, _, half, whole, unit, _ = LOSSES
    return verdicts(
        {
            "S1.21 the additive margin leads softmax": judged(last[additive], last[softmax]),
            "S1.21 the simpler A-softmax leads softmax": judged(last[least], last[softmax]),
            "S1.21 the additive margin leads the simpler A-softmax": judged(last[additive], last[least]),
            "S1.19 a margin by the diameter of classes leads softmax": judged(last[whole], last[softmax]),
            "S1.19 and need not be tuned: half of it leads the margin of 0.35": judged(last[half], last[additive]),
            "NormFace: without a scale softmax learns little": judged(
                last[softmax], last[unit], claim="scale 30 leads scale 1"
            ),
        }
    )


if __name__ == "__main__":
    main()
