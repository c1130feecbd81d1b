"""What the texts of a table look like: how long, in which script, how much of them a tower would cut off."""

from __future__ import annotations

__all__ = ["TokenCounts", "lengths", "scripts_used", "truncation", "without_letters"]

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from embedfit.data.audit_finding import EXAMPLES, DataFinding, Part, excerpt, share, worst
from embedfit.data.audit_view import Rows
from embedfit.data.scripts import letters, mixed, scripts, words
from embedfit.errors import DataError

TokenCounts = Callable[[list[str]], Sequence[int]]
_WORDS = 200_000  # texts whose words are counted
_LETTERS = 20_000  # texts whose letters and tokens are counted
_FAR = 10  # an outlier is this many times as long as the median, and ...
_LONG = 500  # ... has at least so many characters
_HUGE = 50_000  # characters: a tower need not count the tokens of longer texts to their end


def _sample(texts: pl.Series, n: int) -> pl.Series:
    return texts if len(texts) <= n else texts.sample(n, seed=0)


def _sides(rows: Rows) -> dict[str, pl.Series]:
    found = {"queries": rows.queries.fill_null("")}
    if rows.document is not None:
        found["documents"] = rows.document.fill_null("")
    return found


def lengths(rows: Rows) -> Part:
    """Characters and words of both sides, and the texts that are far longer than the rest."""
    facts: dict[str, Any] = {}
    findings: list[DataFinding] = []
    sampled: dict[str, int] = {}
    for side, texts in _sides(rows).items():
        if len(texts) == 0:
            continue
        prefix = "data." if side == "queries" else "data.document_"
        count, sample = texts.str.len_chars(), _sample(texts, _WORDS)
        parts = (("characters", count), ("words", words(sample)))
        for unit, values in parts:
            facts[f"{prefix}{unit}_median"] = _quantile(values, 0.5)
            facts[f"{prefix}{unit}_p95"] = _quantile(values, 0.95)
            facts[f"{prefix}{unit}_max"] = int(values.max() or 0)  # type: ignore[arg-type]
        if len(sample) < len(texts):
            sampled |= {f"{prefix}words_{what}": len(sample) for what in ("median", "p95", "max")}
        findings += _outliers(side, texts, count)
    return Part(facts, tuple(findings), sampled)


def _quantile(values: pl.Series, at: float) -> float:
    return float(values.quantile(at, interpolation="linear") or 0.0)


def _outliers(side: str, texts: pl.Series, count: pl.Series) -> list[DataFinding]:
    median = _quantile(count, 0.5)
    limit = max(_LONG, _FAR * median)
    far = (count > limit).arg_true()
    if far.is_empty():
        return []
    longest = far.gather(count.gather(far).arg_sort(descending=True).head(EXAMPLES))
    return [
        DataFinding(
            name="long_outliers",
            severity="info",
            sentence=f"{len(far):,} {side} have more than {limit:,.0f} characters (median {median:,.0f}, "
            f"longest {count[longest[0]]:,}); what lies beyond a tower's longest input is not read",
            examples=tuple({"row": r, "characters": count[r], "text": excerpt(texts[r])} for r in longest),
        )
    ]


def scripts_used(rows: Rows) -> Part:
    """Shares of the writing systems, and texts that mix them."""
    texts = pl.concat(_sides(rows).values())
    sample = _sample(texts, _LETTERS)
    counts = letters(sample)
    shares = scripts(counts)
    both = mixed(counts)
    mixed_share = float(both.mean() or 0.0)  # type: ignore[arg-type]
    facts = {"data.scripts": shares, "data.mixed_script_share": mixed_share}
    findings = []
    large = {name: value for name, value in shares.items() if value >= 0.05}
    if len(large) > 1 and set(large) != {"Han", "Kana"}:
        findings.append(
            DataFinding(
                name="several_scripts",
                severity="info",
                sentence="letters are "
                + ", ".join(f"{name} ({share(value)})" for name, value in large.items())
                + f"; {share(mixed_share)} of the texts mix two scripts. A pretrained encoder has to know all of them",
                examples=tuple({"text": excerpt(t)} for t in sample.filter(both).unique().sort().head(EXAMPLES)),
            )
        )
    sampled = {name: len(sample) for name in facts} if len(sample) < len(texts) else {}
    return Part(facts, tuple(findings), sampled)


def without_letters(rows: Rows) -> Part:
    """Texts that hold nothing to learn from: empty, or digits and punctuation only."""
    found: list[dict[str, Any]] = []
    count = total = 0
    for side, texts in _sides(rows).items():
        bare = (~texts.str.contains(r"\p{L}")).arg_true()
        count, total = count + len(bare), total + len(texts)
        found += [{"row": r, "side": side, "text": excerpt(texts[r])} for r in bare.head(EXAMPLES)]
    part = count / total if total else 0.0
    if not count:
        return Part({"data.texts_without_letters": 0})
    finding = DataFinding(
        name="texts_without_letters",
        severity=worst(part, watch=0.01, issue=0.5),
        sentence=f"{count:,} texts ({share(part)}) hold no letter at all: empty, or digits and punctuation only",
        examples=tuple(found[:EXAMPLES]),
    )
    return Part({"data.texts_without_letters": count}, (finding,))


def truncation(rows: Rows, max_tokens: int, token_counts: TokenCounts) -> Part:
    """Share of the texts that are longer than a tower's longest input.

    Raises:
        DataError: `max_tokens` is not positive, or `token_counts` gives another number of counts than it got texts.
    """
    if max_tokens < 1:
        raise DataError(f"max_tokens is {max_tokens}; a tower reads at least 1 token", hint="64 suits short texts")
    texts = pl.concat(_sides(rows).values())
    if texts.is_empty():
        return Part()
    sample = _sample(texts, _LETTERS)
    tokens = np.asarray(token_counts(sample.to_list()))
    if tokens.shape != (len(sample),):
        raise DataError(
            f"token_counts returned {tokens.shape[0] if tokens.ndim else 'one'} counts for {len(sample)} texts",
            hint="it takes a list of texts and returns one whole number per text",
        )
    cut = float((tokens > max_tokens).mean())
    facts: dict[str, Any] = {
        "data.truncated_share": cut,
        "data.tokens_median": float(np.median(tokens)),
        "data.tokens_p95": float(np.quantile(tokens, 0.95)),
    }
    longest = np.argsort(-tokens, kind="stable")[:EXAMPLES]
    at_least = "at least " if len(sample[int(longest[0])]) > _HUGE else ""
    finding = DataFinding(
        name="truncated_texts",
        severity=worst(cut, watch=0.01, issue=0.2),
        sentence=f"{share(cut)} of the texts have more than {max_tokens:,} tokens and are cut there "
        f"(median {np.median(tokens):,.0f}, longest {at_least}{tokens.max():,})",
        examples=tuple(
            {"tokens": int(tokens[i]), "text": excerpt(sample[int(i)])} for i in longest if tokens[i] > max_tokens
        ),
    )
    sampled = {name: len(sample) for name in facts} if len(sample) < len(texts) else {}
    return Part(facts, (finding,) if cut else (), sampled)
