"""The identity of texts, for whole columns at once, and of whole tables."""

from __future__ import annotations

__all__ = ["fingerprint", "normalised"]

import hashlib

import polars as pl

from embedfit.pairs import Pairs, normalise

# Characters on which polars (Unicode tables of Rust) and Python agree: lower case = folded case, kind of character, and
# NFKC changes nothing except what _WIDE maps. Left out on purpose: control characters that Python takes for blanks,
# sharp s, dotted I, Greek (final sigma), combining marks, and everything newer or rarer; such texts go through
# `normalise` itself.
_LATIN = (
    r"\x00-\x1b\x20-\x7e\xa0-\xa7\xa9\xab-\xae\xb0\xb1\xb6\xb7\xbb\xbf-\xde\xe0-"
    r"\x{12f}\x{134}-\x{13e}\x{141}-\x{148}\x{14a}-\x{17e}"
)
_CYRILLIC = r"\x{400}-\x{45f}"
_PUNCTUATION = r"\x{2010}\x{2012}-\x{2016}\x{2018}-\x{2022}\x{2026}\x{2030}\x{2032}\x{203b}\x{20ac}\x{2190}-\x{2193}"
_CJK = r"\x{3000}-\x{3029}\x{3041}-\x{3096}\x{30a0}-\x{30fe}\x{4e00}-\x{9fa5}\x{ac00}-\x{d7a3}"
_AGREED = f"^[{_LATIN}{_CYRILLIC}{_PUNCTUATION}{_CJK}\\x{{ff01}}-\\x{{ff5e}}]*$"
_WIDE = {"\xa0": " ", "\u3000": " ", "\u2026": "..."} | {chr(c): chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)}
_BLANKS = r"\s\s+|[^\S ]"
_SLICE = 100_000  # rows written out at a time
_EDGES = r"^[\p{P}\p{Z}]+|[\p{P}\p{Z}]+$"


def normalised(texts: pl.Series) -> pl.Series:
    """`pairs.normalise` of every text, vectorised; null stays null.

    Equal to `normalise` on every text (a property test holds that), at some millions of texts a second.
    """
    agreed = texts.str.contains(_AGREED).fill_null(True)
    if agreed.all():
        return _folded(texts)
    rest = texts.filter(~agreed)
    spelling = {t: normalise(t) for t in rest.unique()}
    slow = pl.Series([spelling[t] for t in rest], dtype=pl.String)
    back = pl.concat([agreed.arg_true(), (~agreed).arg_true()]).arg_sort()
    return pl.concat([_folded(texts.filter(agreed)), slow]).gather(back).alias(texts.name)


def _folded(texts: pl.Series) -> pl.Series:
    narrow = texts.str.replace_many(_WIDE).str.to_lowercase()
    squeezed = narrow.str.replace_all(_BLANKS, " ").str.strip_chars()
    bare = squeezed.str.replace_all(_EDGES, "")
    return pl.select(pl.when(bare != "").then(bare).otherwise(squeezed)).to_series().alias(texts.name)


def fingerprint(pairs: Pairs) -> str:
    """Equal for equal rows in equal order, whatever they were read from."""
    sha = hashlib.sha256(pairs.kind.encode())
    for table in (pairs.table, *([] if pairs.corpus is None else [pairs.corpus])):
        sha.update(repr(table.columns).encode("utf-8", "surrogatepass"))
        for part in table.iter_slices(_SLICE):
            sha.update(part.write_ndjson().encode())
    return sha.hexdigest()[:32]
