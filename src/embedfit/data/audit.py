"""`audit`: facts and findings about a table, before any training."""

from __future__ import annotations

__all__ = ["Audit", "audit"]

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from embedfit.data.audit_clicks import log_of_clicks
from embedfit.data.audit_difficulty import difficulty
from embedfit.data.audit_finding import EXAMPLES, DataFinding, Part, share
from embedfit.data.audit_labels import classes, false_negatives, order
from embedfit.data.audit_leakage import leakage
from embedfit.data.audit_rows import contradictions, repeats
from embedfit.data.audit_texts import TokenCounts, lengths, scripts_used, truncation, without_letters
from embedfit.data.audit_view import Rows, counts, rows
from embedfit.data.binding import columns_line, facts_of_binding
from embedfit.errors import DataError
from embedfit.pairs import Pairs

_FEW = 100  # rows below which every figure is a rough one
_LINES = 24  # of the printed card
_SEVERITIES = ("issue", "watch", "info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was seen in a table; prints as a card of at most 25 lines.

    Attributes:
        facts: flat mapping of dotted names, `data.rows`; `data.sampled` tells which facts were measured on a random
            sample, and of how many rows. A fact that does not apply to the kind of data is absent.
        findings: worst first.
        source: what was audited, in the user's words.
    """

    facts: Mapping[str, Any]
    findings: tuple[DataFinding, ...] = field(default=())
    source: str = "in-memory rows"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "source": self.source,
            "facts": dict(self.facts),
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def __str__(self) -> str:
        head = [line for line in _card(self.source, self.facts) if line]
        room = _LINES - len(head)
        told = [str(finding) for finding in self.findings[:room]]
        rest = len(self.findings) - len(told)
        return "\n".join([*head, *told, *([f"... and {rest} more findings"] if rest else [])])


def audit(
    pairs: Pairs,
    *,
    dev: Pairs | None = None,
    max_tokens: int | None = None,
    token_counts: TokenCounts | None = None,
) -> Audit:
    """Counts, contradictions, leakage, order and difficulty of a table.

    Every count is exact over all rows, but for what `facts["data.sampled"]` names (words, scripts, tokens, difficulty).
    Two texts are the same when `embedfit.pairs.normalise` makes them equal; exact repeats are counted beside.

    Args:
        pairs: rows of any kind; one row or one class is fine.
        dev: held-out rows of the same kind, to measure leakage.
        max_tokens: longest input of the tower, in tokens; with `token_counts`, tells what would be cut off.
        token_counts: number of tokens of each text of a list.

    Raises:
        DataError: only one of `max_tokens` and `token_counts` was given, or `dev` is of another kind.
    """
    if (max_tokens is None) != (token_counts is None):
        given, lacking = ("token_counts", "max_tokens") if max_tokens is None else ("max_tokens", "token_counts")
        raise DataError(f"got {given} without {lacking}", hint="truncation is told from both together")
    seen = rows(pairs)
    parts = [_counts(seen)]
    if len(seen):
        parts += [part(seen) for part in (repeats, contradictions, log_of_clicks, classes, order, false_negatives)]
        parts += [part(seen) for part in (lengths, scripts_used, without_letters, difficulty)]
    if max_tokens is not None and token_counts is not None:
        parts.append(truncation(seen, max_tokens, token_counts))
    if dev is not None:
        parts.append(leakage(seen, rows(dev)))
    facts = {name: value for part in parts for name, value in part.facts.items()}
    sampled = {name: count for part in parts for name, count in part.sampled.items()}
    findings = sorted((f for part in parts for f in part.findings), key=lambda f: _SEVERITIES.index(f.severity))
    return Audit(facts=facts | {"data.sampled": sampled}, findings=tuple(findings), source=pairs.source)


def _counts(seen: Rows) -> Part:
    pairs, keys = seen.pairs, seen.keys
    facts: dict[str, Any] = {
        "data.kind": pairs.kind,
        **facts_of_binding(pairs),
        "data.rows": len(seen),
        "data.left_out": len(pairs.left_out),
        "data.texts": int(_together([counts(keys[c]) for c in keys.columns if c.endswith("_exact")]).sum()),
        "data.queries": int(np.count_nonzero(counts(keys["query"]))),
    }
    if pairs.corpus is not None:
        facts["data.documents"] = pairs.corpus["document_id"].n_unique()
    elif seen.document is not None:
        facts["data.documents"] = int(np.count_nonzero(counts(keys["document"])))
    findings = []
    if len(seen) < _FEW:
        findings.append(
            DataFinding(
                name="few_rows",
                severity="issue" if len(seen) < 2 else "watch",
                sentence=f"{len(seen)} row{'' if len(seen) == 1 else 's'}: "
                + ("nothing can be learnt from that" if len(seen) < 2 else "every figure below is a rough one"),
            )
        )
    if pairs.left_out:
        findings.append(
            DataFinding(
                name="left_out_rows",
                severity="watch",
                sentence=f"{len(pairs.left_out):,} rows of the source could not be taken",
                examples=tuple({"where": str(bad)} for bad in pairs.left_out[:EXAMPLES]),
            )
        )
    return Part(facts, tuple(findings))


def _together(counted: list[Int[np.ndarray, " _"]]) -> Bool[np.ndarray, " texts"]:
    """Which numbers occur in at least one column."""
    met = np.zeros(max(map(len, counted)), dtype=bool)
    for times in counted:
        met[: len(times)] |= times > 0
    return met


def _card(source: str, facts: Mapping[str, Any]) -> list[str]:
    """The head of the printed card: one line per subject, empty where it does not apply."""
    told = [f"{facts['data.texts']:,} different texts"]
    if "data.characters_median" in facts:
        told.append(f"queries of {facts['data.characters_median']:.0f} characters (95 % under {_up(facts, '')})")
    if "data.document_characters_median" in facts:
        told.append(f"documents of {facts['data.document_characters_median']:.0f} ({_up(facts, 'document_')})")
    told += [f"{name} {share(value)}" for name, value in list(facts.get("data.scripts", {}).items())[:3]]
    lines = [
        f"{source}: {facts['data.kind']}, {facts['data.rows']:,} rows",
        "columns  " + columns_line(facts) if "data.columns" in facts else "",
        "texts    " + ", ".join(told),
    ]
    if "data.classes" in facts:
        noun = "classes" if facts["data.kind"] == "classes" else "answers"
        lines.append(
            f"{noun:9}{facts['data.classes']:,}, median {facts['data.class_size_median']:g} rows, largest "
            f"{facts['data.class_size_max']:,}, {share(facts['data.classes_at_most_3'])} with at most 3"
        )
    if "data.clicks" in facts:
        lines.append(_clicks(facts))
    if "data.duplicate_rows" in facts:
        lines.append(
            f"repeats  {facts['data.duplicate_rows']:,} exact, {facts['data.near_duplicate_rows']:,} after "
            f"normalising, {facts['data.conflicting_texts']:,} contradicting"
        )
    if "data.order_autocorrelation" in facts:
        batch = min(64, facts["data.rows"])
        lines.append(
            f"order    {facts['data.order_autocorrelation']:.2f} of 1 grouped; in a batch of {batch} "
            f"{facts['data.batch_classes_in_order']:.1f} different as read, {facts['data.batch_classes_shuffled']:.1f} "
            "shuffled"
        )
    if "data.leakage" in facts:
        lines.append(f"held out {share(facts['data.leakage'])} of the rows are known from training")
    if facts.get("data.sampled"):
        lines.append("sampled  " + _samples(facts["data.sampled"]))
    return lines


def _samples(sampled: Mapping[str, int]) -> str:
    """Which figures are not of all rows, and of how many they are."""
    sizes = sorted(set(sampled.values()))
    named = {n: [name.removeprefix("data.") for name, size in sampled.items() if size == n] for n in sizes}
    return "; ".join(f"from a sample of {n:,} rows: {', '.join(names)}" for n, names in named.items())


def _clicks(facts: Mapping[str, Any]) -> str:
    told = [f"{facts['data.clicks']:,} ({share(facts['data.click_rate'])} of the rows)"]
    if "data.lists" in facts:
        told.append(f"{facts['data.lists']:,} lists of {facts['data.list_length_median']:g}")
        told.append(f"{share(facts['data.lists_without_click'])} of them without one")
    told.append(f"{share(facts['data.queries_without_click'])} of the queries without one")
    return "clicks   " + ", ".join(told)


def _up(facts: Mapping[str, Any], side: str) -> str:
    return f"{facts[f'data.{side}characters_p95']:,.0f}"
