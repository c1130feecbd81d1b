"""What the rows of `studies.align_losses` say of the claims of the article: reproduced, refined or refuted."""

from __future__ import annotations

__all__ = ["judged"]

import math
from statistics import mean
from typing import Any

from benchmarks.ledger import Ledger

from studies.align_tables import at_best, ceilings, distinct, steps_to_ceiling

Verdict = tuple[str, str]
SAME = 0.005  # of cosine: less is no difference
EXPONENT = 0.25  # steps that grow with a smaller power of the dimension hardly grow


def judged(ledger: Ledger) -> dict[str, Verdict]:
    """Verdicts on the claims whose rows are there."""
    out: dict[str, Verdict] = {}
    if ledger.of(table="dimensions"):
        out |= _of_dimensions(ledger)
    if ledger.of(table="starts"):
        out |= _of_starts(ledger)
    if ledger.of(table="schedules"):
        out |= _of_schedules(ledger)
    known = set(distinct(ledger.of(table="losses"), "objective"))
    if known >= {"mse", "mae", "cosine", "euclidean", "cosine+euclidean", "euclidean+margin", "margin"}:
        out |= _of_losses(ledger)
    if ledger.of(table="weights"):
        out |= _of_weights(ledger)
    return dict(sorted(out.items(), key=lambda item: int(item[0].split()[0].removeprefix("S0."))))


def _word(holds: bool, partly: bool = False) -> str:
    return "reproduced" if holds else "refined" if partly else "refuted"


def _of_dimensions(ledger: Ledger) -> dict[str, Verdict]:
    rows = ledger.of(table="dimensions")
    sizes = sorted(distinct(rows, "dimension"))
    network = {size: mean(steps_to_ceiling(rows, size).values()) for size in sizes}
    free = {
        size: mean(r["to .99"] for r in rows if r["of"] == "free rows" and r["dimension"] == size) for size in sizes
    }
    powers = [_power(found) for found in (free, network)]
    low, high = (mean(ceilings(rows, size).values()) for size in (sizes[0], sizes[-1]))
    why = (
        f"from {sizes[0]} to {sizes[-1]:,} dimensions ({sizes[-1] / sizes[0]:.0f} times as many) free rows take "
        f"{free[sizes[-1]] / free[sizes[0]]:.1f} and a network {network[sizes[-1]] / network[sizes[0]]:.1f} times the "
        f"steps (powers {powers[0]:.2f} and {powers[1]:.2f} of the dimension); ceilings {low:.3f} and {high:.3f}"
    )
    # exponential growth would be past any power; a small power is what is left of the claim
    return {"S0.8 difficulty grows exponentially with the dimension": (_word(False, max(powers) > EXPONENT), why)}


def _power(steps: dict[int, float]) -> float:
    """Slope of log steps over log dimensions, least squares."""
    x, y = [math.log(size) for size in steps], [math.log(max(1.0, value)) for value in steps.values()]
    a, b = mean(x), mean(y)
    return sum((u - a) * (v - b) for u, v in zip(x, y, strict=True)) / sum((u - a) ** 2 for u in x)


def _of_starts(ledger: Ledger) -> dict[str, Verdict]:
    rows = ledger.of(table="starts")
    shares = sorted(distinct(rows, "share"))

    def of(share: float, key: str) -> float:
        return mean(math.inf if r[key] is None else r[key] for r in rows if r["share"] == share)

    first, last = shares[0], shares[-1]
    top = max(of(share, "end") for share in shares)
    ends = f"ends at cos {of(first, 'end'):.3f}, the others at {top:.3f} at most"
    steps = f"steps to cos .99: {of(first, 'to .99'):.0f} from random, {of(last, 'to .99'):.0f} from {last:.0%} target"
    slower, lost = of(first, "to .99") > of(last, "to .99"), of(first, "end") < top - SAME
    return {
        "S0.10 too random a start is lost": (_word(lost, slower), f"a random start {ends}; {steps}"),
        "S0.11 a start too near the target is stuck": (
            _word(of(last, "end") < top - SAME),
            f"{last:.0%} of the target ends at cos {of(last, 'end'):.3f}, the best start at {top:.3f}",
        ),
        "S0.12 start from what is known": (_word(slower), steps),
    }


def _of_schedules(ledger: Ledger) -> dict[str, Verdict]:
    rows = ledger.of(table="schedules")

    def best(kind: str) -> float:
        own = [r for r in rows if r["schedule"] == kind]
        return max(mean(r["cosine"] for r in own if r["rate"] == rate) for rate in distinct(own, "rate"))

    found = {kind: best(kind) for kind in distinct(rows, "schedule")}
    said = ", ".join(f"{kind} {value:.3f}" for kind, value in found.items()) + " at the best rate of each"
    top = max(found.values())
    return {
        "S0.13 never a fixed rate": (_word(found["constant"] < top - SAME), said),
        "S0.14 warmup and cosine as the default": (_word(found["cosine"] >= top - SAME), said),
    }


def _of_losses(ledger: Ledger) -> dict[str, Verdict]:
    rows = ledger.of(table="losses")
    names, shares = distinct(rows, "objective"), sorted(distinct(rows, "outliers"))

    def of(name: str, share: float = 0.0, key: str = "cosine") -> float:
        own = at_best([r for r in rows if r["objective"] == name and r["outliers"] == share])
        return mean(math.inf if r[key] is None else r[key] for r in own)

    worst = shares[-1]
    top, noisy_top = (max(of(name, share) for name in names) for share in (0.0, worst))
    reached = {name: steps for name in names if (steps := of(name, key="steps")) < math.inf}
    slowest, fastest = max(reached, key=lambda n: reached[n]), min(reached, key=lambda n: reached[n])
    ratio = reached[slowest] / max(1.0, reached[fastest])
    fell = {name: of(name) - of(name, worst) for name in names}
    said = f"at {worst:.0%} outliers"
    hybrid, plain = "cosine+euclidean", "euclidean"
    others = [name for name in reached if name != hybrid and of(name) >= of(hybrid) - SAME]
    equal = [name for name in others if reached[name] <= reached.get(hybrid, math.inf)]
    return {
        "S0.9 cosine and distance are two things": (
            _word(of("cosine") >= top - SAME and of("cosine", key="relative_l2") > of(plain, key="relative_l2") + SAME),
            f"the cosine alone: cos {of('cosine'):.3f}, relative L2 {of('cosine', key='relative_l2'):.3f} "
            f"(the distance: {of(plain):.3f}, {of(plain, key='relative_l2'):.3f})",
        ),
        "S0.19 the right loss is ten times as fast": (
            _word(ratio >= 10, ratio >= 2),
            f"to cos .9: {fastest} {reached[fastest]:.0f} steps, {slowest} {reached[slowest]:.0f}, each at its best "
            f"rate; never: {', '.join(n for n in names if n not in reached) or 'none'}",
        ),
        "S0.20 the cosine leaves the length open": (
            _word(abs(math.log(max(of("cosine", key="norm_ratio"), 1e-9))) > 0.1),
            f"length over that of the target: {of('cosine', key='norm_ratio'):.2f}",
        ),
        "S0.21 the distance is sensitive to outliers": (
            _word(fell[plain] > SAME, fell["mse"] > SAME),
            f"{said} the distance loses {fell[plain]:.3f} of cosine, its square (mse) {fell['mse']:.3f}",
        ),
        "S0.23 a margin term is more robust": (
            _word(of("euclidean+margin", worst) > of(plain, worst) + SAME),
            f"{said} cos {of('euclidean+margin', worst):.3f} with it, {of(plain, worst):.3f} without; a margin alone "
            f"{of('margin', worst):.3f}",
        ),
        "S0.24 the hybrid is fastest and highest": (
            _word(of(hybrid) >= top - SAME and not equal, of(hybrid) >= top - SAME),
            f"cos {of(hybrid):.3f} (the best: {top:.3f}), {reached.get(hybrid, math.inf):.0f} steps (the fastest: "
            f"{reached[fastest]:.0f}); as high in as few steps: {', '.join(equal) or 'none'}",
        ),
        "S0.25 with noise take MAE or a margin": (
            _word(
                min(of("mae", worst), of("margin", worst)) >= noisy_top - SAME,
                of("mae", worst) >= noisy_top - SAME,
            ),
            f"{said} MAE {of('mae', worst):.3f}, margin {of('margin', worst):.3f}, the best {noisy_top:.3f}",
        ),
    }  # fmt: skip


def _of_weights(ledger: Ledger) -> dict[str, Verdict]:
    rows: list[dict[str, Any]] = ledger.of(table="weights")
    found = {
        w: mean(r["cosine"] for r in at_best([r for r in rows if r["weight"] == w])) for w in distinct(rows, "weight")
    }
    flat = max(found.values()) - min(found.values()) <= SAME
    even = found.get(1.0, max(found.values())) >= max(found.values()) - SAME
    said = ", ".join(f"{weight:g}: {value:.3f}" for weight, value in found.items())
    return {"S0.22 weigh cosine and distance 1:1, then tune": (_word(even and not flat, even), f"cos by weight {said}")}
