"""S0.27, S0.30-S0.32, S2.25: weight decay and batch size, the learning rate chosen anew for each.

python -m studies.sweeps [--quick]        writes studies/results/sweeps.{json,md}
"""

from __future__ import annotations

from statistics import mean

from studies.common import arguments, interval, keep, rows_of, run, table, verdicts

DECAYS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
BATCHES = (16, 32, 64, 128, 256, 512)
RATES = (0.001, 0.003, 0.01, 0.03)
LEVEL = 0.01  # of the metric: less is no difference


def main() -> None:
    """Both sweeps on all data sets."""
    asked = arguments(__doc__, data=["hwu64", "stackfaq"], seeds=3)
    decays, batches, rates = (DECAYS[::3], BATCHES[1:4:2], RATES[1:3]) if asked.quick else (DECAYS, BATCHES, RATES)
    length = "2 epochs" if asked.quick else "10 epochs"
    rows, text = [], []
    for data in asked.data:
        # decay in the gradient (adam), as the articles mean it, and apart from it (adamw)
        for kind in ("adam", "adamw"):
            sweep = {d: {"optim.kind": kind, "optim.weight_decay": d} for d in decays}
            best = _swept(data, sweep, rates, length, asked.seeds, rows)
            text += [f"### {data}: weight decay with {kind}", _table("weight decay", best)]
            means = {d: mean(values) for d, (_, values, _) in best.items()}
            small = max((means[d] for d in means if 0 < d <= 1e-5), default=means[min(means)])
            text.append(verdicts({"S0.27 L2 of 1e-5 or 1e-6 from the start": _judge(small - means[0.0])}))
        best = _swept(data, {b: {"optim.batch_size": b} for b in batches}, rates, length, asked.seeds, rows)
        text += [f"### {data}: batch size at equal examples", _table("batch size", best)]
        means = {b: mean(values) for b, (_, values, _) in best.items()}
        usual = max(means[b] for b in means if b in (64, 128) or len(means) < 3)
        seconds = {b: mean(s) for b, (_, _, s) in best.items()}
        low, high = min(seconds), max(seconds)
        cheaper = "refuted" if seconds[high] < seconds[low] else "reproduced"
        text.append(
            verdicts(
                {
                    "S0.30 64 or 128 first": _judge(usual - max(means.values()), wanted=-LEVEL),
                    "S0.32 small batches are cheaper": (
                        cheaper,
                        f"{seconds[low]:.1f} s at {low}, {seconds[high]:.1f} s at {high}",
                    ),
                }
            )
        )
    keep("sweeps", rows, "\n\n".join(text), asked)


Swept = dict[float, tuple[float, list[float], list[float]]]


def _swept(data: str, sweep: dict, rates: tuple[float, ...], length: str, seeds: int, rows: list) -> Swept:
    """For each value the best rate, its metrics and its seconds by seed."""
    best: Swept = {}
    for value, settings in sweep.items():
        for rate in rates:
            more = {"model.kind": "static", "optim.length": length, "optim.learning_rate": rate, **settings}
            found = [run(rows_of(data, seed), more, seed=seed) for seed in range(seeds)]
            metrics = [o.last for o in found]
            rows.append(
                {"data": data, **settings, "rate": rate, "metrics": metrics, "seconds": [o.seconds for o in found]}
            )
            if value not in best or mean(metrics) > mean(best[value][1]):
                best[value] = (rate, metrics, [o.seconds for o in found])
    return best


def _table(name: str, best: Swept) -> str:
    lines = [[f"{v:g}", f"{rate:g}", interval(m), f"{mean(s):.1f}"] for v, (rate, m, s) in best.items()]
    return table([name, "best rate", "final metric", "seconds"], lines)


def _judge(gain: float, wanted: float = LEVEL) -> tuple[str, str]:
    return ("reproduced" if gain >= wanted else "refuted", f"difference {gain:+.3f}")


if __name__ == "__main__":
    main()
