"""Which writing systems a column of texts uses: by Unicode script, not by guessing languages."""

from __future__ import annotations

__all__ = ["SCRIPTS", "letters", "mixed", "scripts", "words"]

from collections.abc import Mapping

import polars as pl

SCRIPTS: Mapping[str, str] = {  # name -> characters; Chinese and Japanese share ideographs, kana tell them apart
    "Latin": r"\p{Latin}",
    "Han": r"\p{Han}",
    "Kana": r"[\p{Hiragana}\p{Katakana}]",
    "Hangul": r"\p{Hangul}",
    "Cyrillic": r"\p{Cyrillic}",
    "Greek": r"\p{Greek}",
    "Arabic": r"\p{Arabic}",
    "Hebrew": r"\p{Hebrew}",
    "Devanagari": r"\p{Devanagari}",
    "Bengali": r"\p{Bengali}",
    "Tamil": r"\p{Tamil}",
    "Thai": r"\p{Thai}",
}
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_MIXED = 0.2  # both scripts hold at least this share of the letters


def words(texts: pl.Series) -> pl.Series:
    """Number of words of each text; in scripts without spaces every character counts as one."""
    return texts.str.count_matches(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


def letters(texts: pl.Series) -> pl.DataFrame:
    """Letters of each script in each text: one column per script that occurs, and `other`."""
    counts = {name: texts.str.count_matches(pattern) for name, pattern in SCRIPTS.items()}
    known = pl.DataFrame(counts)
    other = texts.str.count_matches(r"\p{L}").cast(pl.Int64) - known.sum_horizontal().cast(pl.Int64)
    table = known.with_columns(other=other.clip(0).cast(pl.UInt32))
    return table[[c for c in table.columns if (table[c] > 0).any()] or ["Latin"]]


def scripts(counts: pl.DataFrame) -> dict[str, float]:
    """Share of the letters by script, largest first; empty where there are no letters.

    Args:
        counts: what `letters` returned.
    """
    sums = {c: int(counts[c].cast(pl.Int64).sum()) for c in counts.columns}
    total = sum(sums.values())
    return {c: n / total for c, n in sorted(sums.items(), key=lambda item: (-item[1], item[0])) if n}


def mixed(counts: pl.DataFrame) -> pl.Series:
    """True for texts of two writing systems, each with at least a fifth of the letters; Han with kana is one."""
    japanese = [c for c in ("Han", "Kana") if c in counts.columns]
    rest = [c for c in counts.columns if c not in japanese]
    grouped = counts.select(*rest, pl.sum_horizontal(japanese).alias("Han")) if japanese else counts
    if grouped.width < 2:
        return pl.repeat(False, counts.height, dtype=pl.Boolean, eager=True)
    total = grouped.sum_horizontal()
    return grouped.select(
        pl.sum_horizontal(((pl.col(c) >= _MIXED * total) & (pl.col(c) > 0)).cast(pl.Int8) for c in grouped.columns) >= 2
    ).to_series()
