"""S1.45-S1.54: CoSENT, cosine regression, AnglE and Sentence-BERT's softmax head on graded pairs.

    python -m studies.graded [--quick]          writes studies/results/graded.{json,md}

From scratch, each loss at its own best rate by the held-out rank correlation; the same rows say what that is, so that
the figures are a little high for all of them alike. And from a pretrained MiniLM, one epoch of 3,000 pairs at one rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean
from typing import Any

from benchmarks.quality import minilm

from embedfit.judging import Rows
from studies.common import Outcome, Study, interval, judged, part, rows_of, table, verdicts

LOSSES: Mapping[str, Mapping[str, Any]] = {
    "CoSENT": {"loss.kind": "cosent"},
    "cosine regression": {"loss.kind": "cosine"},
    "AnglE": {"loss.kind": "angle"},
    "softmax head, 2 classes": {"loss.kind": "softmax_head"},
    "softmax head, 6 classes": {"loss.kind": "softmax_head", "loss.grades": 6},
}
RATES = (0.001, 0.003, 0.01)
PRETRAINED = 3_000  # pairs
FEW = ("CoSENT", "cosine regression", "softmax head, 2 classes")  # losses that it is trained with


def main() -> None:
    """All losses on both languages."""
    study = Study("graded", __doc__, data=["stsb English", "stsb Chinese"], seeds=3)
    text = []
    for data in ["stsb English"] if study.quick else study.data:
        scratch = compared(study, data, LOSSES, RATES[1:2] if study.quick else RATES, {
            "model.kind": "static",
            "model.dimension": 128,
            "optim.batch_size": 64,
            "optim.length": "30 steps" if study.quick else "6 epochs",
            "run.evaluate_every": "10 steps" if study.quick else "1 epoch",
        })  # fmt: skip
        text += [f"### {data}, from scratch", drawn(scratch), of_claims(scratch)]
    losses = {name: LOSSES[name] for name in FEW}
    pretrained = compared(study, "stsb English", losses, (5e-5,), {
        "optim.batch_size": 32,
        "optim.length": "2 steps" if study.quick else "1 epoch",
        "run.evaluate_every": "1 step" if study.quick else "25%",
    }, pretrained=True)  # fmt: skip
    study.write("\n\n".join([*text, "### stsb English, pretrained", drawn(pretrained), of_claims(pretrained)]))


Compared = Mapping[str, tuple[float, Sequence[Outcome]]]


def compared(
    study: Study, data: str, losses: Mapping[str, Mapping[str, Any]], rates: Sequence[float], base: Mapping[str, Any],
    *, pretrained: bool = False,
) -> Compared:  # fmt: skip
    """For each loss the best rate, and its runs."""
    found = {}
    folder, model = (minilm(), {"model": "MiniLM"}) if pretrained else (None, {})
    for name, settings in losses.items():
        tried = {
            rate: [
                study.run(
                    partial(some if pretrained else rows_of, data, seed),
                    {**base, "optim.learning_rate": rate, "optim.average": 0.0, "optim.patience": 1000, **settings},
                    seed=seed, folder=folder, data=data, way=name, **model,
                )
                for seed in study.seeds
            ]
            for rate in rates
        }  # fmt: skip
        best = max(tried, key=lambda rate: mean(o.best for o in tried[rate]))
        found[name] = (best, tried[best])
    return found


def some(data: str, seed: int) -> Rows:
    """A part of the training rows."""
    return part(rows_of(data, seed), PRETRAINED, seed)


def drawn(found: Compared) -> str:
    """The table of one language."""
    lines = [
        [
            name,
            f"{rate:g}",
            interval([o.curve[0][1] for o in runs]),
            interval([o.curve[1][1] for o in runs]),
            interval([o.best for o in runs]),
            interval([o.last for o in runs]),
            f"{mean(o.trace[0][1] for o in runs):.3f} to {mean(o.loss or 0.0 for o in runs):.3f}",
        ]
        for name, (rate, runs) in found.items()
    ]
    return table(["loss", "best rate", "untrained", "first evaluation", "best", "last", "loss"], lines)


def of_claims(found: Compared) -> str:
    """What becomes of the claims, by the best held-out figure of each run."""
    best = {name: [o.best for o in runs] for name, (_, runs) in found.items()}
    cosent, cosine, _, head, _ = LOSSES
    runs = found[head][1]
    start, end = [o.curve[0][1] for o in runs], [o.last for o in runs]
    fell = all((o.loss or 0.0) < o.trace[0][1] for o in runs)
    verdict, why = judged(start, end, claim="untrained leads trained")
    return verdicts(
        {
            "S1.49 CoSENT leads the softmax head": judged(best[cosent], best[head]),
            "S1.53 CoSENT leads regression of the cosine": judged(best[cosent], best[cosine]),
            "S1.54 the softmax head: the loss falls and so does the order of the cosines": (
                verdict if fell else "open",
                f"the loss {'falls in every run' if fell else 'does not fall in every run'}; {why}",
            ),
        }
    )


if __name__ == "__main__":
    main()
