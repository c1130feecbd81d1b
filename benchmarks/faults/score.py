"""The scores of answers, with the intervals of their shares, and those of answers that look at nothing."""

from __future__ import annotations

__all__ = ["Judged", "Share", "f1", "frequent", "judge", "share"]

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scipy.stats import binomtest

from benchmarks.faults.answers import Answer
from benchmarks.faults.cases import Case, Truth


class Share(NamedTuple):
    """A count of successes with its Wilson interval."""

    hits: int
    n: int

    def __str__(self) -> str:
        if self.n == 0:
            return "none"
        interval = binomtest(self.hits, self.n).proportion_ci(method="wilson")
        return f"{self.hits / self.n:.1%} ({interval.low:.1%} to {interval.high:.1%}, {self.hits} of {self.n})"


def share(flags: Iterable[bool]) -> Share:
    """How many of them are true."""
    given = list(flags)
    return Share(sum(given), len(given))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An answer held against the truth.

    Attributes:
        alarm: something was said to be wrong.
        top: the component named first is right (programs with one fault).
        cause: one of the first three findings names the cause (programs with one fault).
        right: components of the truth that were named (programs with two).
        wrong: components named that no fault sits in.
        missed: faults of which no component was named.
    """

    alarm: bool
    top: bool
    cause: bool
    right: int
    wrong: int
    missed: int


def judge(truth: Sequence[Truth], answer: Answer) -> Judged:
    """Hold one answer against the truth."""
    named = answer.components
    found = [t for t in truth if set(t.components) & set(named)]
    accepted = {c for t in truth for c in t.components}
    codes = {code for _, code in answer.named[:3]} if named else set()  # a healthy verdict names nothing
    return Judged(
        alarm=answer.verdict == "ill" or answer.issues > 0,
        top=bool(truth) and bool(named) and named[0] in truth[0].components,
        cause=bool(truth) and bool(codes & truth[0].codes),
        right=len(found),
        wrong=sum(c not in accepted for c in named),
        missed=len(truth) - len(found),
    )


def f1(judged: Iterable[Judged]) -> float:
    """Micro F1 of the named components over programs with two faults."""
    given = list(judged)
    right, wrong, missed = (sum(getattr(j, k) for j in given) for k in ("right", "wrong", "missed"))
    return 2 * right / (2 * right + wrong + missed) if right else 0.0


def frequent(cases: Iterable[Case], count: int) -> tuple[list[str], list[str]]:
    """The components that faults sit in most often, and the causes: what a doctor says who looks at nothing."""
    truths = [t for case in cases for t in case.truth]
    components, causes = Counter(t.components[0] for t in truths), Counter(t.cause for t in truths)
    return [c for c, _ in components.most_common(count)], [c for c, _ in causes.most_common(count)]
