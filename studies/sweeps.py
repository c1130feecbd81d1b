"""S0.27-S0.32, S1.29, S2.25: decay, dropout, smoothing, averages and batch size, each at its own best learning rate.

python -m studies.sweeps [--quick]        writes studies/results/sweeps.{json,md}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean
from typing import Any

from studies.common import Outcome, Study, interval, judged, rows_of, table, verdicts

DECAYS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
DROPOUTS = (0.0, 0.1, 0.3, 0.5)
SMOOTHINGS = (0.0, 0.05, 0.1, 0.3)
AVERAGES = (0.0, 0.1, 0.3)
BATCHES = (16, 32, 64, 128, 256, 512)
RATES = (0.01, 0.03, 0.09, 0.27, 0.81)  # wide: where the best is at the end of the grid, small batches seem better
SLACK = 0.01  # of the metric: less is no difference


def main() -> None:
    """All sweeps on all data sets."""
    study = Study("sweeps", __doc__, data=["hwu64", "stsb English"], seeds=3)
    decays, batches = (DECAYS[::3], BATCHES[1:4:2]) if study.quick else (DECAYS, BATCHES)
    text = []
    for data in study.data:
        # decay in the gradient (adam), as the articles mean it, and apart from it (adamw)
        for kind in ("adam", "adamw"):
            best = swept(study, data, {d: {"optim.kind": kind, "optim.weight_decay": d} for d in decays})
            text += [f"### {data}: weight decay with {kind}", drawn("weight decay", best), of_decay(best)]
        for name, (key, values, claim) in beside(rows_of(data, 0).train.kind).items():
            best = swept(study, data, {v: {key: v} for v in (values[:2] if study.quick else values)})
            text += [f"### {data}: {name}", drawn(name, best), of_some(best, claim)]
        best = swept(study, data, {b: {"optim.batch_size": b} for b in batches})
        text += [f"### {data}: batch size at equal examples", drawn("batch size", best), of_batches(best)]
    study.write("\n\n".join(text))


def beside(kind: str) -> Mapping[str, tuple[str, Sequence[float], str]]:
    """What is swept besides, by name: the setting, its values, nothing of it first, and what is claimed of it."""
    smoothing = {"label smoothing": ("loss.label_smoothing", SMOOTHINGS, "S0.29 label smoothing helps")}
    return {
        "dropout of embeddings": ("model.dropout", DROPOUTS, "S0.28 dropout of the embedding layer helps"),
        **(smoothing if kind == "classes" else {}),
        "moving average of the weights": ("optim.average", AVERAGES, "S1.29 an average of the weights helps"),
    }


Swept = Mapping[float, tuple[float, Sequence[Outcome]]]


def swept(study: Study, data: str, sweep: Mapping[float, Mapping[str, Any]]) -> Swept:
    """For each value the best rate, and its runs."""
    best = {}
    for value, settings in sweep.items():
        tried = {}
        for rate in RATES[1:2] if study.quick else RATES:
            more = {
                "model.kind": "static",
                "model.dimension": 64,
                "optim.batch_size": 64,
                "optim.length": "2 epochs",
                "optim.learning_rate": rate,
                "optim.patience": 1000,
                "run.evaluate_every": "100%",
                **settings,
            }
            tried[rate] = [study.run(partial(rows_of, data, s), more, seed=s, data=data) for s in study.seeds]
        rate = max(tried, key=lambda rate: mean(o.last for o in tried[rate]))
        best[value] = (rate, tried[rate])
    return best


def drawn(name: str, best: Swept) -> str:
    """The table of a sweep."""
    lines = [
        [f"{value:g}", f"{rate:g}", interval([o.last for o in runs]), f"{mean(o.seconds for o in runs):.1f}"]
        for value, (rate, runs) in best.items()
    ]
    return table([name, "best rate", "final metric", "seconds"], lines)


def of_decay(best: Swept) -> str:
    """Whether a small decay is worth anything."""
    small = max((d for d in best if 0 < d <= 1e-5), key=lambda d: mean(o.last for o in best[d][1]), default=max(best))
    found = judged([o.last for o in best[small][1]], [o.last for o in best[0.0][1]], claim=f"{small:g} leads none")
    return verdicts({"S0.27 L2 of 1e-5 or 1e-6 from the start": found})


def of_some(best: Swept, claim: str) -> str:
    """Whether the best of several amounts leads none."""
    some = max((value for value in best if value), key=lambda value: mean(o.last for o in best[value][1]))
    return verdicts(
        {claim: judged([o.last for o in best[some][1]], [o.last for o in best[0.0][1]], claim=f"{some:g} leads none")}
    )


def of_batches(best: Swept) -> str:
    """Whether 64 or 128 are a good start, whether smaller is better, and what it costs."""
    means = {b: mean(o.last for o in runs) for b, (_, runs) in best.items()}
    usual = max(means[b] for b in means if b in (64, 128) or len(means) < 3)
    low, high = min(best), max(best)
    seconds = {b: mean(o.seconds for o in best[b][1]) for b in (low, high)}
    return verdicts(
        {
            "S0.30 64 or 128 first": (
                "reproduced" if usual >= max(means.values()) - SLACK else "refuted",
                f"{usual:.3f}, the best of all {max(means.values()):.3f}",
            ),
            "S2.25 small batches end better, each at its own rate": judged(
                [o.last for o in best[low][1]], [o.last for o in best[high][1]], claim=f"{low:g} leads {high:g}"
            ),
            "S0.32 small batches are cheaper": (
                "refuted" if seconds[high] < seconds[low] else "reproduced",
                f"{seconds[low]:.1f} s at {low:g}, {seconds[high]:.1f} s at {high:g}",
            ),
        }
    )


if __name__ == "__main__":
    main()
