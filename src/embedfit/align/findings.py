"""What an exam of two spaces means: findings with their rows, and the verdict in a sentence."""

from __future__ import annotations

__all__ = ["ENOUGH", "findings_of", "mismatched", "reached", "smallest", "verdict_of"]

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from embedfit.align.exam import Exam, Trial
from embedfit.data.audit_finding import DataFinding, share
from embedfit.data.vectors import Matched

SURE = 4.0  # standard errors above chance; unrelated spaces get there once in 30,000 times
UNLIKELY = 0.01  # probability of a distance correlation below which spaces depend on each other
ENOUGH = 0.01  # of mean reciprocal rank: a map that lacks no more has reached another one
USEFUL, USELESS = 0.5, 0.1  # recall@10 below which a mapping is weak, and hardly one
EXPLAINED = 0.1  # share of variance below which a map predicts next to nothing
FAR = 5.0  # lengths from the middle, in scaled coordinates, beyond which a row is an outlier
SHOWN = 10


def findings_of(pairs: Matched, exam: Exam, facts: tuple[Mapping[str, Any], Mapping[str, Any]]) -> list[DataFinding]:
    """All that its owner should know, worst first.

    Args:
        pairs: what was examined.
        exam: what was found.
        facts: of source and target space.
    """
    made = [
        *_mapping(exam),
        *_mismatch(pairs, exam),
        *_outliers(pairs, exam),
        *_lengths(facts),
        *_reach(pairs, exam, facts),
        *_counts(facts),
    ]
    return sorted(made, key=lambda finding: ("issue", "watch", "info").index(finding.severity))


def best(exam: Exam) -> Trial:
    """The kind of map that finds the right target best."""
    return max(exam.trials, key=score)


def score(trial: Trial) -> float:
    """Mean reciprocal rank of the right target."""
    return float(np.mean(1 / trial.quality.rank))


def reached(exam: Exam, trial: Trial) -> bool:
    """Whether a kind of map is as good as the best, give or take `ENOUGH`."""
    return score(trial) >= score(best(exam)) - ENOUGH


def smallest(exam: Exam) -> Trial:
    """The smallest kind of map that is as good as the best."""
    return next(trial for trial in exam.trials if reached(exam, trial))


def related(exam: Exam) -> bool:
    """Whether a map finds held-out targets better than chance."""
    return any(e.z is not None and e.z > SURE for e in exam.evidence if e.name in ("ridge", "procrustes", "mlp"))


def mismatched(exam: Exam) -> tuple[float, Int[np.ndarray, " m"]]:
    """Share of the pairs that look mismatched, and those that most look it, as rows looked at.

    The place of the own target among all targets is evenly spread over 0..1 for rows that do not belong together, and
    near 1 for the others: twice the share below one half is that of the mismatched.
    """
    place = exam.linear.place
    low = np.flatnonzero(place < 0.5)
    return min(1.0, 2 * len(low) / len(place)), low[np.argsort(place[low], kind="stable")]


def verdict_of(exam: Exam, found: Sequence[DataFinding]) -> str:
    """One sentence with the numbers."""
    refusal = next((f for f in found if f.severity == "issue" and f.name in ("no_mapping", "no_map_found")), None)
    if refusal is not None:
        return refusal.sentence
    top, chosen = best(exam), smallest(exam)
    linear = next(t for t in exam.trials if t.kind == "linear")
    said = (
        f"there is a mapping: a linear map reaches recall@1 {linear.quality.recall(1):.3f} of an attainable "
        f"{top.quality.recall(1):.3f} among {top.quality.candidates:,} items (shuffled "
        f"{exam.evidence[0].shuffled:.3f}); "
    )
    said += "an orthogonal map is enough" if chosen.kind == "orthogonal" else f"the smallest that does is {chosen.name}"
    part = next((f for f in found if f.name == "mismatched_rows"), None)
    weak = next((f for f in found if f.name == "weak_mapping"), None)
    said += f"; {share(mismatched(exam)[0])} of the rows look mismatched: listed" if part else ""
    return said + ("; it is a weak one" if weak else "")


def _mapping(exam: Exam) -> list[DataFinding]:
    top = best(exam).quality
    ridge = next(e for e in exam.evidence if e.name == "ridge")
    chance = next(e for e in exam.evidence if e.name == "distance correlation")
    measured = (
        f"the best map has recall@10 {top.recall(10):.3f} among {top.candidates:,} items, the linear one recall@1 "
        f"{ridge.value:.3f} (shuffled: {ridge.shuffled:.3f}), and distance correlation is {chance.value:.3f} "
        f"(p = {chance.p:.3f})"
    )
    if not related(exam):
        if chance.p is not None and chance.p > UNLIKELY:
            said = f"there is no mapping: {measured}. Do row i of both files belong to the same item?"
            return [DataFinding(name="no_mapping", severity="issue", sentence=said)]
        said = f"the spaces depend on each other, but no map was found that holds for new items: {measured}"
        return [DataFinding(name="no_map_found", severity="issue", sentence=said)]
    r2 = max(t.r2 for t in exam.trials)
    if top.recall(10) >= USEFUL:
        return []
    useless = top.recall(10) < USELESS and r2 < EXPLAINED
    said = (
        f"the mapping is real and weak: {measured}; it explains {share(max(0.0, r2))} of the target's variance. "
        "The target holds what the source does not: move no index with it"
    )
    return [DataFinding(name="weak_mapping", severity="issue" if useless else "watch", sentence=said)]


def _mismatch(pairs: Matched, exam: Exam) -> list[DataFinding]:
    part, rows = mismatched(exam)
    if not related(exam) or best(exam).quality.recall(10) < USEFUL or not len(rows):
        return []
    examples = tuple(
        {
            "row": pairs.names[exam.rows[i]],
            "place": round(float(exam.linear.place[i]), 3),
            "nearest": pairs.names[exam.rows[exam.nearest[i]]],
        }
        for i in rows[:SHOWN]
    )
    said = (
        f"about {share(part)} of the rows look mismatched: for {len(rows):,} of {len(exam.rows):,} more than half of "
        "all targets are nearer to the prediction than their own"
    )
    return [DataFinding(name="mismatched_rows", severity="watch", sentence=said, examples=examples)]


def _outliers(pairs: Matched, exam: Exam) -> list[DataFinding]:
    out = []
    for what, rows, ruler in zip(("source", "target"), (pairs.source, pairs.target), exam.rulers, strict=True):
        if ruler.cosine:
            length = np.linalg.norm(rows, axis=1)
            far = np.flatnonzero(np.abs(np.log(np.maximum(length, 1e-30) / np.median(length))) > np.log(FAR))
        else:
            length = np.linalg.norm(ruler(rows), axis=1)
            far = np.flatnonzero(length > FAR * np.median(length))
        if len(far):
            said = f"{len(far):,} rows of the {what} lie more than {FAR:g} times as far out as the median row"
            examples = tuple({"row": pairs.names[i], "length": round(float(length[i]), 3)} for i in far[:SHOWN])
            said += "; an objective that squares (mse) would follow them: take euclidean" if what == "target" else ""
            out.append(DataFinding(name=f"outliers_{what}", severity="watch", sentence=said, examples=examples))
    return out


def _lengths(facts: tuple[Mapping[str, Any], Mapping[str, Any]]) -> list[DataFinding]:
    source, target = (f["norm_mean"] for f in facts)
    spread = facts[1]["norm_spread"]
    if 0.5 <= target / max(source, 1e-30) <= 2 and spread < 0.05:
        return []
    said = (
        f"lengths differ: rows of the source have length {source:.3g}, of the target {target:.3g} "
        f"(spread {share(spread)}); the cosine alone would not learn them"
    )
    return [DataFinding(name="norm_mismatch", severity="info", sentence=said)]


def _reach(pairs: Matched, exam: Exam, facts: tuple[Mapping[str, Any], Mapping[str, Any]]) -> list[DataFinding]:
    rank = facts[0]["rank"]
    if rank >= facts[1]["rank"]:
        return []
    part = _variance_within(exam.rulers[1](pairs.target[exam.rows]), rank)
    if part > 0.95:
        return []
    said = (
        f"the target cannot be reached: the source has {rank} directions, and the {rank} strongest of the target hold "
        f"{share(part)} of its variance. No linear map gets beyond that; aim at fewer dimensions, or at similarities"
    )
    return [DataFinding(name="unreachable_target", severity="watch", sentence=said)]


def _variance_within(rows: Float[np.ndarray, "n e"], rank: int) -> float:
    centred = rows.astype(np.float64) - rows.mean(0)
    values = np.clip(np.linalg.eigvalsh(centred.T @ centred), 0, None)[::-1]
    return float(values[:rank].sum() / max(values.sum(), 1e-30))


def _counts(facts: tuple[Mapping[str, Any], Mapping[str, Any]]) -> list[DataFinding]:
    out = []
    rows, size = facts[0]["rows"], facts[0]["dimension"]
    if rows < 5 * size:
        said = f"{rows:,} pairs for {size} dimensions of the source: more pairs will help"
        out.append(DataFinding(name="few_pairs", severity="info", sentence=said))
    for what, one in zip(("source", "target"), facts, strict=True):
        if one["distinct"] < one["rows"]:
            said = f"{one['rows'] - one['distinct']:,} rows of the {what} repeat another row of it exactly"
            if what == "source":
                said += "; they are held out together, and no map tells them apart"
            out.append(DataFinding(name=f"repeated_{what}", severity="info", sentence=said))
    return out
