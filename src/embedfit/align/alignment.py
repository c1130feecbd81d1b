"""`align`: examine two spaces, say whether there is a mapping, and learn the smallest that does.

Axes: n pairs, a dimensions of the source, e of the target.
"""

from __future__ import annotations

__all__ = ["Alignment", "Fit", "align", "learn_map"]

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from embedfit.align.closed import Gram
from embedfit.align.descent import Curve, Descent
from embedfit.align.exam import FOLDS, Exam, Trial, examine
from embedfit.align.findings import ENOUGH, findings_of, smallest, verdict_of
from embedfit.align.maps import Learned, learn, predict
from embedfit.align.quality import Quality, quality
from embedfit.align.search import Search, search_quality
from embedfit.align.spaces import Nearness, Ruler, folds_of, space_facts
from embedfit.data.audit_finding import DataFinding
from embedfit.data.vector_files import read_vectors
from embedfit.data.vectors import Matched, Vectors, match
from embedfit.errors import BadRow, ModelError, RecipeError
from embedfit.losses.vectors import objective as objective_of
from embedfit.run import write_json
from embedfit.towers.vector_map import Kind, VectorMap, save_map

MOST_HELD_OUT = 2_000
SMALLEST_SAMPLE = 125  # pairs the learning curve begins with


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """A map between two spaces, and how good it is on pairs it has not seen.

    Attributes:
        map: takes and gives vectors as they are, unscaled.
        kind: of the map, with its rank where it has one.
        objective: it was learned under.
        pairs: it was learned from.
        quality: on the held-out pairs.
        curve: of the descent; none for a closed form.
        learning: held-out recall@1 of least-squares maps from fewer pairs, by their number.
        search: old, new and migrated vectors searched.
    """

    map: VectorMap
    kind: str
    objective: str
    pairs: int
    quality: Quality
    curve: Curve | None
    learning: Mapping[int, float]
    search: Search

    def enough(self) -> int | None:
        """The smallest number of pairs tried whose map is as good as that of all, give or take a hundredth.

        None where no smaller number than all of them is: more might help.
        """
        *fewer, (_, last) = self.learning.items()
        return next((n for n, value in fewer if value >= last - ENOUGH), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "kind": self.kind,
            "objective": self.objective,
            "pairs": self.pairs,
            **self.quality.to_dict(),
            "steps_to_cosine_0.9": self.curve and self.curve.first_at(0.9),
            "learning_curve": {str(n): value for n, value in self.learning.items()},
            "enough_pairs": self.enough(),
            "search": self.search.to_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alignment:
    """Whether one space maps onto another, the evidence, and the map.

    Attributes:
        verdict: one sentence.
        findings: worst first.
        facts: of source and target space.
        exam: the tests.
        fit: the map; none where there is none.
        left_out: rows that were not used.
    """

    verdict: str
    findings: tuple[DataFinding, ...]
    facts: tuple[Mapping[str, Any], Mapping[str, Any]]
    exam: Exam
    fit: Fit | None
    left_out: tuple[BadRow, ...]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the map: `model.safetensors`, `map.json`, and all that was found as `alignment.json`.

        Raises:
            ModelError: there is no map, or the folder holds something else.
        """
        if self.fit is None:
            raise ModelError(f"there is no map to save: {self.verdict}", hint="look at the findings")
        place = save_map(self.fit.map, folder, extra={"verdict": self.verdict, "fit": self.fit.to_dict()})
        write_json(place / "alignment.json", self.to_dict())
        return place

    @property
    def exists(self) -> bool:
        """Whether there is a mapping worth the name."""
        return not any(finding.severity == "issue" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "verdict": self.verdict,
            "exists": self.exists,
            "source": dict(self.facts[0]),
            "target": dict(self.facts[1]),
            "evidence": [
                {"name": e.name, "statistic": e.statistic, "value": e.value, "shuffled": e.shuffled, "z": e.z, "p": e.p}
                for e in self.exam.evidence
            ],
            "maps": [{"kind": t.name, "r2": t.r2, **t.quality.to_dict()} for t in self.exam.trials],
            "findings": [finding.to_dict() for finding in self.findings],
            "fit": None if self.fit is None else self.fit.to_dict(),
            "left_out": [str(row) for row in self.left_out],
        }


def align(
    pairs: Matched,
    *,
    kind: Kind | Literal["auto"] = "auto",
    objective: str = "auto",
    nearness: Nearness = "auto",
    labels: Int[np.ndarray, " n"] | None = None,
    descent: Descent | None = None,
    seed: int = 0,
) -> Alignment:
    """Say whether there is a mapping, and learn it.

    Args:
        pairs: the same items in both spaces.
        kind: of the map; auto: the smallest that is as good as the best.
        objective: one of `embedfit.losses.vectors.OBJECTIVES`; auto: least squares (closed form), or the distance where
            rows look mismatched or far out.
        nearness: how nearness is measured in the target space; auto: cosine where its rows are of unit length.
        labels: class of each item, to measure search with.
        descent: how weights move where they do.
        seed: of everything random.

    Raises:
        DataError: too few pairs.
        RecipeError: there is no such objective.
    """
    wanted = None if objective == "auto" else objective_of(objective)
    exam = examine(pairs.source, pairs.target, nearness=nearness, seed=seed)
    facts = space_facts(pairs.source), space_facts(pairs.target)
    found = findings_of(pairs, exam, facts)
    fit = None
    if not any(finding.severity == "issue" for finding in found):
        robust = any(f.name in ("mismatched_rows", "outliers_target") for f in found)
        name = objective if wanted is not None else ("euclidean" if robust else "mse")
        fit = fit_map(pairs, exam, kind=kind, objective=name, labels=labels, descent=descent or Descent(seed=seed))
    return Alignment(
        verdict=verdict_of(exam, found),
        findings=tuple(found),
        facts=facts,
        exam=exam,
        fit=fit,
        left_out=pairs.left_out,
    )


def learn_map(
    source: Float[np.ndarray, "n a"] | str | os.PathLike[str],
    target: Float[np.ndarray, "n e"] | str | os.PathLike[str],
    **how: Any,
) -> Alignment:
    """Say whether one space maps onto another, and learn the map: `align` for arrays and files.

    Args:
        source: rows, or a file of them; row i and row i of the target are the same item, unless both files have ids.
        target: the same items in the other space.
        **how: as `align` has it: kind, objective, nearness, labels, descent, seed.

    Raises:
        DataError: not readable, rows that do not match or are not finite, or too few pairs.
    """
    sides = [
        read_vectors(side) if isinstance(side, str | os.PathLike) else Vectors(values=side, ids=None, source=name)
        for side, name in ((source, "source"), (target, "target"))
    ]
    return align(match(sides[0], sides[1]), **how)


def fit_map(
    pairs: Matched,
    exam: Exam,
    *,
    kind: Kind | Literal["auto"],
    objective: str,
    labels: Int[np.ndarray, " n"] | None,
    descent: Descent,
) -> Fit:
    """Learn a map from most of the pairs, and measure it on the others."""
    chosen = _chosen(exam, kind)
    source, target = exam.rulers
    x, y = source(pairs.source), target(pairs.target)
    folds = folds_of(x, FOLDS + 1, descent.seed)
    test, train = np.flatnonzero(folds == 0)[:MOST_HELD_OUT], np.flatnonzero(folds != 0)

    def learned(trial: Trial, rows: Int[np.ndarray, " m"], loss: str) -> Learned:
        known = None if trial.kind == "orthogonal" else (Gram(x[rows]), exam.strength)
        how = (objective_of(loss), descent)
        return learn(x[rows], y[rows], trial.kind, unit=target.cosine, rank=trial.rank, known=known, descent=how)

    def recall(trial: Trial, rows: Int[np.ndarray, " m"]) -> float:
        found = predict(learned(trial, rows, "mse").map, x[test], unit=target.cosine)
        return quality(found, y, test, cosine=target.cosine).recall(1)

    made = learned(chosen, train, objective)
    prediction = predict(made.map, x, unit=target.cosine)
    measured = quality(prediction[test], y, test, cosine=target.cosine)
    sizes = [n for i in range(20) if (n := SMALLEST_SAMPLE * 2**i) < len(train)]
    order = train[np.random.default_rng(descent.seed).permutation(len(train))]
    # in closed form, which differs little and costs less
    simple = replace(chosen, kind="linear") if chosen.kind == "mlp" else chosen
    learning = {n: recall(simple, order[:n]) for n in [*sizes, len(train)]}
    search = search_quality(x, y, prediction, queries=test, labels=labels, cosine=target.cosine)
    made.map.rescale(source=_scales(source), target=_scales(target))
    return Fit(
        map=made.map,
        kind=chosen.name,
        objective=objective,
        pairs=len(train),
        quality=measured,
        curve=made.curve,
        learning=learning,
        search=search,
    )


def _chosen(exam: Exam, kind: Kind | Literal["auto"]) -> Trial:
    """The kind of map asked for (of the ranks of a low-rank one, the best), or the smallest that is good enough."""
    if kind == "auto":
        return smallest(exam)
    tried = [trial for trial in exam.trials if trial.kind == kind]
    if not tried:
        sizes = " and ".join(str(len(ruler.mean)) for ruler in exam.rulers)
        raise RecipeError(
            f"there is no map of kind '{kind}' between spaces of {sizes} dimensions that is smaller than a linear one",
            hint="take linear",
        )
    return tried[-1]


def _scales(ruler: Ruler) -> tuple[Float[np.ndarray, " e"], Float[np.ndarray, " e"]]:
    return ruler.mean, ruler.spread
