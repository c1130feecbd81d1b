"""S1.45-S1.54: CoSENT, cosine regression, AnglE and Sentence-BERT's softmax head on graded pairs.

    python -m studies.graded [--quick]          writes studies/results/graded.{json,md}

From scratch, each loss at its own best rate by the held-out rank correlation at the end; the same rows say what that
is, so that the figures are a little high for all of them alike. And from a pretrained MiniLM, one epoch of 3,000 pairs
at one rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean
from typing import Any

from benchmarks.quality import minilm

from embedfit.judging import Rows
from studies.common import Outcome, Study, interval, judged, lead, part, rows_of, table, verdicts

LOSSES: Mapping[str, Mapping[str, Any]] = {
    "CoSENT": {"loss.kind": "cosent"},
    "cosine regression": {"loss.kind": "cosine"},
    "AnglE": {"loss.kind": "angle"},
    "softmax head, 2 classes": {"loss.kind": "softmax_head"},
    "softmax head, 6 classes": {"loss.kind": "softmax_head", "loss.grades": 6},
}
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
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
        study.write("\n\n".join(text))  # after each: what is done is a page
    losses = {name: LOSSES[name] for name in FEW}
    pretrained = compared(study, "stsb English", losses, (5e-5,), {
        "optim.batch_size": 32,
        "optim.length": "2 steps" if study.quick else "1 epoch",
        "run.evaluate_every": "1 step" if study.quick else "25%",
    }, pretrained=True)  # fmt: skip
    study.write("\n\n".join([*text, "### stsb English, pretrained", drawn(pretrained), of_claims(pretrained)]))


Compared = Mapping[str, Mapping[float, Sequence[Outcome]]]


def compared(
    study: Study, data: str, losses: Mapping[str, Mapping[str, Any]], rates: Sequence[float], base: Mapping[str, Any],
    *, pretrained: bool = False,
) -> Compared:  # fmt: skip
    """For each loss its runs, by rate."""
    folder, model = (minilm(), {"model": "MiniLM"}) if pretrained else (None, {})
    return {
        name: {
            rate: [
                study.run(
                    partial(some if pretrained else rows_of, data, seed),
                    {**base, "optim.learning_rate": rate, "optim.average": 0.0, "optim.patience": 1000, **settings},
                    seed=seed, folder=folder, data=data, way=name, **model,
                )
                for seed in study.seeds
            ]
            for rate in rates
        }
        for name, settings in losses.items()
    }  # fmt: skip


def best_rate(tried: Mapping[float, Sequence[Outcome]]) -> float:
    """By the metric at the end."""
    return max(tried, key=lambda rate: mean(o.last for o in tried[rate]))


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
            interval([o.last for o in runs]),
            f"{mean(o.trace[0][1] for o in runs):.3f} to {mean(o.loss or 0.0 for o in runs):.3f}",
        ]
        for name, tried in found.items()
        for rate in [best_rate(tried)]
        for runs in [tried[rate]]
    ]
    return table(["loss", "best rate", "untrained", "first evaluation", "at the end", "loss"], lines)


def of_claims(found: Compared) -> str:
    """What becomes of the claims, at the end of training, each loss at its own rate."""
    last = {name: end(tried[best_rate(tried)]) for name, tried in found.items()}
    cosent, cosine, _, head, _ = LOSSES
    heads = [runs for name, tried in found.items() if "head" in name for runs in tried.values()]
    fell = [all((o.loss or 0.0) < o.trace[0][1] for o in runs) for runs in heads]
    worse = [ahead > half for runs in heads for ahead, half in [lead([o.curve[0][1] for o in runs], end(runs))]]
    both = sum(a and b for a, b in zip(fell, worse, strict=True))
    return verdicts(
        {
            "S1.49 CoSENT leads the softmax head": judged(last[cosent], last[head]),
            "S1.53 CoSENT leads regression of the cosine": judged(last[cosent], last[cosine]),
            "S1.54 the softmax head: the loss falls and so does the order of the cosines": (
                "reproduced" if both == len(heads) else "refined" if both else "refuted",
                f"at {both} of {len(heads)} rates and numbers of classes",
            ),
        }
    )


def end(runs: Sequence[Outcome]) -> list[float]:
    """The metric at the end of each run."""
    return [o.last for o in runs]


if __name__ == "__main__":
    main()
