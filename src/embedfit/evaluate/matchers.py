"""Ways to tell whether two texts mean the same, side by side: accuracy, by words in common, and time for an answer.

A way is two towers, or a scorer that reads both texts together (`embedfit.interaction`). Each gets the threshold on its
similarity that is most accurate on the dev rows; accuracy is that on the test rows, also for the third of the pairs
whose texts share the fewest words and the third that share the most: where words decide, a way that lets them meet has
its chance, and its time is what that costs (Su, https://kexue.fm/archives/8860).

Axes: n pairs, d documents.
"""

from __future__ import annotations

__all__ = ["Judged", "Matcher", "Matching", "Towers", "compare_scorers"]

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from embedfit.errors import DataError, ModelError
from embedfit.evaluate.baselines import graded_baseline, tfidf
from embedfit.evaluate.classify import pair_threshold
from embedfit.evaluate.graded import paired_cosine
from embedfit.metrics import Interval, bootstrap_mean, paired_mean
from embedfit.pairs import Pairs, normalise
from embedfit.towers import TwoTower

ROWS = 512  # queries whose words are compared with all documents at a time
REPEATS = 3


@runtime_checkable
class Matcher(Protocol):
    """What gives two texts a similarity. Scorers are; `Towers` makes two towers one."""

    def score(self, queries: Sequence[str], documents: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Similarity of each query with its own document."""
        ...

    def against(self, documents: Sequence[str]) -> Callable[[str], Float[np.ndarray, " d"]]:
        """Similarities of a query with these documents, of which all that can be worked out beforehand is."""
        ...


@dataclass(frozen=True, slots=True)
class Towers:
    """Two towers as a matcher: the cosine of two embeddings, those of documents kept."""

    model: TwoTower

    def score(self, queries: Sequence[str], documents: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Cosine of each query with its own document."""
        return paired_cosine(self.model.encode(queries), self.model.encode(documents, role="document"))

    def against(self, documents: Sequence[str]) -> Callable[[str], Float[np.ndarray, " d"]]:
        """One product with the embeddings of the documents."""
        kept = self.model.encode(documents, role="document")
        return lambda query: np.asarray(kept @ self.model.encode([query])[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What one way reached on the test rows.

    Attributes:
        threshold: on its similarity; the most accurate one on the dev rows.
        accuracy: share of the pairs told rightly.
        few_shared: the same of the third with the fewest words in common.
        many_shared: the same of the third with the most.
        seconds: for the similarities of one query with all documents, without what is worked out beforehand.
        right: the pairs told rightly.
        similarity: of each pair.
    """

    threshold: float
    accuracy: Interval
    few_shared: Interval
    many_shared: Interval
    seconds: float
    right: Bool[np.ndarray, " n"]
    similarity: Float[np.ndarray, " n"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matching:
    """All ways on the same rows.

    Attributes:
        ways: by name.
        overlap: of each test pair, cosine of its texts' TF-IDF.
        documents: that `seconds` are for.
    """

    ways: Mapping[str, Judged]
    overlap: Float[np.ndarray, " n"]
    documents: int

    def lead(self, first: str, second: str, *, seed: int = 0) -> Interval:
        """Accuracy of the first way less that of the second, by the paired bootstrap over the test pairs."""
        one, other = (self.ways[name].right.astype(np.float64) for name in (first, second))
        return paired_mean(one, other, seed=seed)

    def __str__(self) -> str:
        heads = ("", "accuracy", "few shared words", "many shared words", f"ms for {self.documents}")
        lines: list[tuple[str, ...]] = [heads]
        for name, way in self.ways.items():
            shares = (
                f"{i.value:.3f} ({i.low:.3f}-{i.high:.3f})" for i in (way.accuracy, way.few_shared, way.many_shared)
            )
            lines.append((name, *shares, f"{1000 * way.seconds:.1f}"))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        )


def compare_scorers(
    ways: Mapping[str, Matcher | TwoTower],
    dev: Pairs,
    test: Pairs,
    *,
    same: float | None = None,
    documents: int = 200,
    seed: int = 0,
) -> Matching:
    """Compare ways to tell whether two texts mean the same.

    Of graded rows a pair means the same where its grade is `same` at least. Of pairs, each query has its positive,
    which does, and beside it the document nearest to it in words that is not known to belong to it, which does not.

    Args:
        ways: towers or scorers, by name.
        dev: rows that choose the thresholds.
        test: rows that are reported on; none of them should be among the dev rows.
        same: lowest grade that means the same; None: the middle between the lowest and the highest of the dev rows.
        documents: of the test rows at most so many are what the time is measured on.
        seed: of the intervals.

    Returns:
        What each reached, and `lead` between any two.

    Raises:
        DataError: no way, rows of other or of two kinds, or rows that all mean the same or all do not.
        ModelError: a similarity is not finite.
    """
    if not ways:
        raise DataError("there is nothing to compare", hint='give ways = {"two towers": model, "scorer": scorer}')
    if dev.kind != test.kind:
        raise DataError(
            f"the dev rows are of kind '{dev.kind}', the test rows '{test.kind}'", hint="give rows of one kind"
        )
    strange = [name for name, way in ways.items() if not isinstance(way, TwoTower | Matcher)]
    if strange:
        raise DataError(
            f"'{strange[0]}' is a {type(ways[strange[0]]).__name__}; expected two towers or a scorer",
            hint="load it first: ef.load(...), or give an object with the methods score and against",
        )
    matchers = {name: Towers(way) if isinstance(way, TwoTower) else way for name, way in ways.items()}
    if same is None and dev.kind == "graded" and len(dev):
        grade = dev.table["score"].to_numpy().astype(np.float64)
        same = float((grade.min() + grade.max()) / 2)
    on_dev, on_test = decisions(dev, same, "dev"), decisions(test, same, "test")
    overlap = graded_baseline(on_test.first, on_test.second, [*on_dev.first, *on_dev.second])
    low, high = np.quantile(overlap, [1 / 3, 2 / 3])
    texts = list(dict.fromkeys(on_test.second))[:documents]

    def judged(matcher: Matcher) -> Judged:
        threshold = pair_threshold(_values(matcher, on_dev), on_dev.same, "accuracy")
        similarity = _values(matcher, on_test)
        right = (similarity >= threshold) == on_test.same

        def share(rows: Bool[np.ndarray, " n"]) -> Interval:
            return bootstrap_mean(right[rows].astype(np.float64), seed=seed)

        return Judged(
            threshold=threshold,
            accuracy=share(np.ones_like(right)),
            few_shared=share(overlap <= low),
            many_shared=share(overlap >= high),
            seconds=seconds(matcher, on_test.first[0], texts),
            right=right,
            similarity=similarity,
        )

    return Matching(
        ways={name: judged(matcher) for name, matcher in matchers.items()}, overlap=overlap, documents=len(texts)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """Two texts, and whether they mean the same."""

    first: list[str]
    second: list[str]
    same: Bool[np.ndarray, " n"]


def decisions(pairs: Pairs, same: float | None, what: str) -> Decisions:
    """The pairs to be decided on."""
    if pairs.kind == "graded":
        made = Decisions(
            pairs.table["sentence1"].to_list(),
            pairs.table["sentence2"].to_list(),
            pairs.table["score"].to_numpy().astype(np.float64) >= (same or 0.0),
        )
    elif pairs.kind == "pairs":
        made = _beside_the_nearest(pairs.table["query"].to_list(), pairs.table["positive"].to_list())
    else:
        raise DataError(
            f"the {what} rows are of kind '{pairs.kind}'; expected graded or pairs",
            hint="give two texts per row: sentence1, sentence2, score, or query, positive",
        )
    if made.same.all() or not made.same.any():
        raise DataError(
            f"of the {what} rows, {int(made.same.sum())} of {len(made.same)} mean the same; no threshold can be chosen",
            hint="give rows of both kinds, or another grade as same=",
        )
    return made


def _beside_the_nearest(queries: list[str], positives: list[str]) -> Decisions:
    """True pairs, and after them each query with the nearest document that is not its own."""
    documents = list(dict.fromkeys(positives))
    own: dict[str, set[str]] = {}
    for query, document in zip(queries, positives, strict=True):
        own.setdefault(normalise(query), set()).update((normalise(document), normalise(query)))
    features = tfidf(documents)
    key = features(documents)
    places: dict[str, list[int]] = {}
    for number, document in enumerate(documents):
        places.setdefault(normalise(document), []).append(number)
    rivals: list[tuple[str, str]] = []
    for start in range(0, len(queries), ROWS):
        block = queries[start : start + ROWS]
        cosine = (features(block) @ key.T).toarray()
        for query, values in zip(block, cosine, strict=True):
            values[[place for text in own[normalise(query)] for place in places.get(text, ())]] = -1.0
            if values.max() >= 0:
                rivals.append((query, documents[int(values.argmax())]))
    same = np.arange(len(queries) + len(rivals)) < len(queries)
    return Decisions([*queries, *(q for q, _ in rivals)], [*positives, *(d for _, d in rivals)], same)


def seconds(matcher: Matcher, query: str, documents: Sequence[str]) -> float:
    """Median time of the similarities of one query with documents that have been seen before."""
    ask = matcher.against(documents)
    ask(query)
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        ask(query)
        taken.append(time.perf_counter() - began)
    return median(taken)


def _values(matcher: Matcher, rows: Decisions) -> Float[np.ndarray, " n"]:
    values = np.asarray(matcher.score(rows.first, rows.second), np.float64)
    if not np.isfinite(values).all():
        raise ModelError(
            f"{int((~np.isfinite(values)).sum())} of {len(values)} similarities are not finite",
            hint="look at the weights: training has probably diverged",
        )
    return values
