"""One honest sentence or three: how good, against what, and what to do.

Reads nothing but what was measured.
"""

from __future__ import annotations

__all__ = ["Finding", "verdict"]

from dataclasses import dataclass

from embedfit.metrics import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """All that a verdict is made of.

    Attributes:
        metric: name of the main metric.
        kind: of the rows.
        value: of the model, with interval.
        chance: what a random ranking gets.
        queries: how many held-out rows.
        candidates: how many there were to choose from; 0 for graded pairs.
        lexical: of TF-IDF; None where it was not measured.
        gain: model - lexical on the same queries.
        fused: of both together, weight chosen on other queries; None where it was not measured.
        fused_gain: fused - model on the same queries.
        svm: of a linear SVM on TF-IDF, where the rows have classes.
        svm_gain: model - SVM on the same queries.
        leaked: queries that are word for word among the known ones.
        unanswerable: queries whose right answer is not among the candidates; they count as missed.
        unjudged: queries left out because nothing is relevant to them.
    """

    metric: str
    kind: str
    value: Interval
    chance: float
    queries: int
    candidates: int = 0
    lexical: Interval | None = None
    gain: Interval | None = None
    fused: Interval | None = None
    fused_gain: Interval | None = None
    svm: Interval | None = None
    svm_gain: Interval | None = None
    leaked: int = 0
    unanswerable: int = 0
    unjudged: int = 0


def verdict(f: Finding) -> str:
    """What was found, in plain words."""
    return " ".join(part for part in (_headline(f), _against_words(f), _fusion(f), _reservations(f)) if part)


def _headline(f: Finding) -> str:
    among = f" among {f.candidates:,} candidates" if f.candidates else ""
    rows = "pairs" if f.kind == "graded" else "queries"
    value = f"{f.metric} is {f.value.value:.3f} ({f.value.low:.3f} to {f.value.high:.3f})"
    head = f"{value} on {f.queries:,} held-out {rows}{among}"
    if f.value.low <= f.chance:
        return f"{head}: no better than chance ({f.chance:.3f})."
    return f"{head}."


def _against_words(f: Finding) -> str:
    if f.lexical is None or f.gain is None:
        return ""
    if f.gain.low > 0:
        said = f"It beats TF-IDF ({f.lexical.value:.3f}) by {f.gain.value:.3f} ({f.gain.low:.3f} to {f.gain.high:.3f})"
    elif f.gain.high < 0:
        said = f"TF-IDF without any training does better ({f.lexical.value:.3f}, by {-f.gain.value:.3f})"
    else:
        said = f"TF-IDF without any training does as well ({f.lexical.value:.3f}; the difference may be chance)"
    if f.svm is not None and f.svm_gain is not None and f.svm_gain.low <= 0:
        same = "does better" if f.svm_gain.high < 0 else "does as well"
        said += f"; a linear SVM on TF-IDF {same} ({f.svm.value:.3f}), use it if the classes never change"
    return said + "."


def _fusion(f: Finding) -> str:
    """What to do: more than words alone, or with them."""
    if f.gain is None or f.lexical is None:
        return ""
    together = "" if f.fused is None else f"reaches {f.fused.value:.3f}{_command(f)}"
    if f.gain.low > 0:
        better = f.fused_gain is not None and f.fused_gain.low > 0
        return f"Adding TF-IDF scores to the model's {together}." if better else ""
    remedy = "start from a pretrained encoder, or give more examples"
    best = max(f.value.value, f.lexical.value)
    if f.value.value > 0.98:
        look = "" if f.kind == "graded" else "look at mrr@10, or "
        return f"At this ceiling nothing can be told apart: {look}hold out harder rows."
    if f.fused is not None and f.fused.value > best + 0.005:
        return f"Adding TF-IDF scores to the model's {together}; otherwise {remedy}."
    said = f"{remedy[0].upper()}{remedy[1:]}"
    return f"{said}." if f.fused is None else f"{said}; adding TF-IDF scores does not help here."


def _command(f: Finding) -> str:
    """How to search with both; graded pairs have nothing to search in."""
    return "" if f.kind == "graded" else ': `embedfit search RUN "text" --fuse` does that'


def _reservations(f: Finding) -> str:
    said = []
    if f.value.high - f.value.low > 0.2:
        said.append(f"{f.queries} held-out rows are too few to say more")
    if f.candidates and f.chance > 0.5:
        said.append(f"with {f.candidates} candidates chance alone gives {f.chance:.2f}: look at mrr@10 instead")
    if f.leaked > 0.01 * f.queries:
        said.append(f"{f.leaked} of the queries are word for word among the known ones, which flatters the figure")
    if f.unanswerable:
        said.append(
            f"{f.unanswerable} queries cannot be answered, nothing known is relevant to them: they count as missed"
        )
    if f.unjudged:
        said.append(f"{f.unjudged} queries have no relevant document and were not asked")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}." if text else ""
