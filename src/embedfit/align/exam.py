"""Is there a mapping? Held-out evidence from every kind of map, each beside the same with shuffled targets.

Axes: n pairs, a dimensions of the source, e of the target.
"""

from __future__ import annotations

__all__ = ["Evidence", "Exam", "Trial", "examine"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from embedfit.align.closed import Gram, canonical
from embedfit.align.dependence import distance_correlation, neighbour_overlap
from embedfit.align.descent import Descent
from embedfit.align.maps import best_strength, learn, low_ranks, predict
from embedfit.align.quality import Quality, quality
from embedfit.align.spaces import Nearness, Ruler, folds_of, ruler_for
from embedfit.errors import DataError
from embedfit.losses.vectors import Euclidean
from embedfit.towers.vector_map import Kind

FOLDS = 4
LEAST = 40  # pairs below which nothing can be said
ROWS = 3_000  # pairs looked at
STEPS = 300  # of the mlp
FEW = 800  # pairs the tests that grow with the square of their number look at

Predict = Callable[[Float[np.ndarray, "m a"]], Float[np.ndarray, "m e"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One test of the dependence of two spaces.

    Attributes:
        name: of the test.
        statistic: what is measured, in words.
        value: what it is.
        shuffled: what it is when the rows of the target are shuffled.
        z: standard errors above chance, where that is known.
        p: probability of such a value for unrelated spaces, where shuffles were counted.
    """

    name: str
    statistic: str
    value: float
    shuffled: float
    z: float | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """One kind of map on the held-out fold that all kinds are compared on.

    Attributes:
        kind: of the map.
        rank: of a low-rank map, else 0.
        quality: of its predictions.
        r2: share of the variance of the held-out targets that it explains.
    """

    kind: Kind
    rank: int
    quality: Quality
    r2: float

    @property
    def name(self) -> str:
        """As it is printed."""
        return f"{self.kind} {self.rank}" if self.rank else self.kind


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exam:
    """All that was found out about two spaces.

    Attributes:
        evidence: tests against shuffled targets.
        trials: kinds of maps from the smallest to the largest, on the same held-out rows.
        linear: cross-validated predictions of the linear map for every row looked at.
        rows: rows looked at, as positions among the pairs.
        strength: ridge penalty of the linear map.
        rulers: of source and target.
        nearest: target that the linear map's prediction for each row looked at is nearest to, as a row looked at.
    """

    evidence: tuple[Evidence, ...]
    trials: tuple[Trial, ...]
    linear: Quality
    rows: Int[np.ndarray, " n"]
    strength: float
    rulers: tuple[Ruler, Ruler]
    nearest: Int[np.ndarray, " n"] = field(repr=False)


def examine(
    source: Float[np.ndarray, "n a"],
    target: Float[np.ndarray, "n e"],
    *,
    nearness: Nearness = "auto",
    seed: int = 0,
    rows: int = ROWS,
) -> Exam:
    """Test whether, how well, and by how simple a map the target follows from the source.

    Rows with the same source vector are held out together. Every figure is of rows that the map was not learned from.

    Args:
        source: row i and row i of the target are the same item.
        target: the same items in the other space.
        nearness: how nearness is measured in the target space.
        seed: of folds, shuffles and descents.
        rows: at most so many pairs are looked at, drawn at random.

    Raises:
        DataError: too few pairs.
    """
    if len(source) < LEAST:
        raise DataError(f"{len(source)} pairs say nothing about a mapping", hint=f"bring {LEAST} at least, or 1,000")
    rng = np.random.default_rng(seed)
    looked = np.sort(rng.permutation(len(source))[:rows])
    rulers = ruler_for(source, "auto"), ruler_for(target, nearness)
    x, y = rulers[0](source[looked]), rulers[1](target[looked])
    folds = folds_of(x, FOLDS, seed)
    shuffled = y[rng.permutation(len(y))]
    bench = _Bench(x, y, folds, unit=rulers[1].cosine)
    strength = best_strength(x, y, seed)
    linear, nearest = bench.crossed(strength)
    null = _Bench(x, shuffled, folds, unit=rulers[1].cosine)
    ranks = low_ranks(source.shape[1], target.shape[1])
    kinds = [("orthogonal", 0), *(("low-rank", rank) for rank in ranks), ("linear", 0), ("mlp", 0)]
    trials = bench.trials(kinds, strength, seed)  # type: ignore[arg-type]
    controls = null.trials([("orthogonal", 0), ("mlp", 0)], strength, seed)
    return Exam(
        evidence=(
            *_of_maps(linear, null.crossed(strength)[0], trials, controls),
            *_of_spaces(x, y, shuffled, folds, seed),
        ),
        trials=trials,
        linear=linear,
        rows=looked,
        strength=strength,
        rulers=rulers,
        nearest=nearest,
    )


@dataclass(frozen=True, slots=True)
class _Bench:
    """Pairs with folds, on which maps are compared."""

    source: Float[np.ndarray, "n a"]
    target: Float[np.ndarray, "n e"]
    folds: Int[np.ndarray, " n"]
    unit: bool

    def judged(self, mapped: Predict, test: Int[np.ndarray, " m"]) -> Quality:
        """Predictions for some rows, against the targets of all."""
        return quality(mapped(self.source[test]), self.target, test, cosine=self.unit)

    def crossed(self, strength: float) -> tuple[Quality, Int[np.ndarray, " n"]]:
        """The linear map's predictions for each fold, learned on the others; and the target each is nearest to."""
        prediction = np.empty_like(self.target)
        for fold in range(FOLDS):
            test, train = np.flatnonzero(self.folds == fold), np.flatnonzero(self.folds != fold)
            ridge = Gram(self.source[train]).ridge(self.target[train], strength)
            prediction[test] = predict(ridge, self.source[test], unit=self.unit)
        rows = np.arange(len(self.target))
        half = np.zeros(len(rows)) if self.unit else np.square(self.target).sum(1) / 2
        nearest = [
            np.argmax(p @ self.target.T - half, axis=1) for p in np.array_split(prediction, 1 + len(rows) // 512)
        ]
        return quality(prediction, self.target, rows, cosine=self.unit), np.concatenate(nearest)

    def trials(self, kinds: Sequence[tuple[Kind, int]], strength: float, seed: int) -> tuple[Trial, ...]:
        """Kinds of map with their ranks, learned on all folds but the first and measured on that."""
        gram = Gram(self.source[self.folds != 0])
        return tuple(self._trial(kind, rank, gram, strength, seed) for kind, rank in kinds)

    def _trial(self, kind: Kind, rank: int, gram: Gram, strength: float, seed: int) -> Trial:
        test, train = np.flatnonzero(self.folds == 0), np.flatnonzero(self.folds != 0)
        x, y = self.source[train], self.target[train]
        descent = (Euclidean(), Descent(steps=STEPS, seed=seed)) if kind == "mlp" else None
        made = learn(x, y, kind, unit=False, rank=rank, known=(gram, strength), descent=descent).map
        raw = made.map(self.source[test])
        own = self.target[test]
        rest = float(np.square(raw - own).sum(dtype=np.float64))
        spread = float(np.square(own - y.mean(0)).sum(dtype=np.float64))
        found = self.judged(lambda rows: predict(made, rows, unit=self.unit), test)
        return Trial(kind=kind, rank=rank, quality=found, r2=1 - rest / max(spread, 1e-30))


def _of_maps(linear: Quality, null: Quality, trials: tuple[Trial, ...], controls: tuple[Trial, ...]) -> list[Evidence]:
    """Recall of the right target by the linear map (all rows), and by turn and mlp (one fold)."""
    said = "recall@1, cross-validated"
    out = [Evidence(name="ridge", statistic=said, value=linear.recall(1), shuffled=null.recall(1), z=linear.z)]
    for name, control in zip(("procrustes", "mlp"), controls, strict=True):
        own = next(t for t in trials if t.kind == control.kind).quality
        value, chance = own.recall(1), control.quality.recall(1)
        out.append(Evidence(name=name, statistic="recall@1, held out", value=value, shuffled=chance, z=own.z))
    return out


def _of_spaces(
    x: Float[np.ndarray, "n a"],
    y: Float[np.ndarray, "n e"],
    shuffled: Float[np.ndarray, "n e"],
    folds: Int[np.ndarray, " n"],
    seed: int,
) -> list[Evidence]:
    """Canonical correlations, shared neighbours, distance correlation."""
    train, test = np.flatnonzero(folds != 0), np.flatnonzero(folds == 0)
    own, null = (float(np.mean(canonical((x[train], side[train]), (x[test], side[test])))) for side in (y, shuffled))
    k = 10
    overlap, chance = neighbour_overlap(x[:2_000], y[:2_000], k=k, seed=seed)
    few = np.random.default_rng(seed).permutation(len(x))[:FEW]
    value, mean, p = distance_correlation(x[few], y[few], seed=seed)
    return [
        Evidence(name="cca", statistic="mean of the first 10 correlations, held out", value=own, shuffled=null,
                 z=own * np.sqrt(len(test))),
        Evidence(name="neighbours", statistic=f"share of the {k} nearest that agree", value=overlap, shuffled=chance),
        Evidence(name="distance correlation", statistic="squared, bias-corrected", value=value, shuffled=mean, p=p),
    ]  # fmt: skip
