"""S1.45-S1.54: CoSENT, cosine regression, AnglE and Sentence-BERT's softmax head on graded pairs.

    python -m studies.graded [--quick]          writes studies/results/graded.{json,md}

From scratch, each loss at its own best rate by the held-out rank correlation; the same rows say what that is, so that
the figures are a little high for all of them alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean
from typing import Any

from studies.common import Outcome, Study, interval, judged, rows_of, table, verdicts

LOSSES: Mapping[str, Mapping[str, Any]] = {
    "CoSENT": {"loss.kind": "cosent"},
    "cosine regression": {"loss.kind": "cosine"},
    "AnglE": {"loss.kind": "angle"},
    "softmax head, 2 classes": {"loss.kind": "softmax_head"},
    "softmax head, 6 classes": {"loss.kind": "softmax_head", "loss.grades": 6},
}
RATES = (0.001, 0.003, 0.01)


def main() -> None:
    """All losses on both languages."""
    study = Study("graded", __doc__, data=["stsb English", "stsb Chinese"], seeds=3)
    text = []
    for data in ["stsb English"] if study.quick else study.data:
        found = {}
        for name, settings in LOSSES.items():
            tried = {}
            for rate in RATES[1:2] if study.quick else RATES:
                more = {
                    "model.kind": "static",
                    "model.dimension": 128,
                    "optim.batch_size": 64,
                    "optim.learning_rate": rate,
                    "optim.length": "30 steps" if study.quick else "6 epochs",
                    "optim.average": 0.0,
                    "optim.patience": 1000,
                    "run.evaluate_every": "10 steps" if study.quick else "1 epoch",
                    **settings,
                }
                tried[rate] = [
                    study.run(partial(rows_of, data, seed), more, seed=seed, data=data, way=name)
                    for seed in study.seeds
                ]
            best = max(tried, key=lambda rate: mean(o.best for o in tried[rate]))
            found[name] = (best, tried[best])
        text += [f"### {data}", drawn(found), of_claims({name: runs for name, (_, runs) in found.items()})]
    study.write("\n\n".join(text))


def drawn(found: Mapping[str, tuple[float, Sequence[Outcome]]]) -> str:
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
    return table(["loss", "best rate", "untrained", "after one epoch", "best", "last", "loss"], lines)


def of_claims(found: Mapping[str, Sequence[Outcome]]) -> str:
    """What becomes of the claims, by the best held-out figure of each run."""
    best = {name: [o.best for o in runs] for name, runs in found.items()}
    cosent, cosine, _, head, _ = LOSSES
    start = [o.curve[0][1] for o in found[head]]
    end = [o.last for o in found[head]]
    fell = all((o.loss or 0.0) < o.trace[0][1] for o in found[head])
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
