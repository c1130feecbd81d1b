"""`Pairs`: a table with named columns, whatever file it came from."""

from __future__ import annotations

__all__ = ["COLUMNS", "KINDS", "Kind", "Pairs", "normalise"]

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import polars as pl

from embedfit.errors import BadRow, DataError

Kind = Literal["pairs", "classes", "graded", "clicks", "collection"]
KINDS: tuple[Kind, ...] = get_args(Kind)

COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "pairs": ("query", "positive"),
    "classes": ("text", "label"),
    "graded": ("sentence1", "sentence2", "score"),
    "clicks": ("query", "document", "clicked"),
    "collection": ("query_id", "query", "document_id", "relevance"),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Rows under canonical column names, with a record of where they came from.

    Attributes:
        kind: pairs | classes | graded | clicks | collection.
        table: the rows. Columns by kind:
            pairs: `query`, `positive`, any of `negative_1`, `negative_2`, ...; optional `weight` (float).
            classes: `text`, `label` (string); optional `label_text` (the standard question of the class), `weight`.
            graded: `sentence1`, `sentence2`, `score` (float, any scale).
            clicks: one row per document shown: `query`, `document`, `clicked` (bool, or 0 and 1); optional `query_id`,
                `document_id`, `session_id`, `position` (float, small is high up), `timestamp`.
            collection: one row per judgement: `query_id`, `query`, `document_id`, `relevance` (float > 0 is relevant).
        corpus: collection only: `document_id`, `document`.
        source: what the user named (for messages).
        binding: canonical column -> column of the source.
        left_out: rows that were not taken, each with its reason.
    """

    kind: Kind
    table: pl.DataFrame
    corpus: pl.DataFrame | None = None
    source: str = "in-memory rows"
    binding: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[BadRow, ...] = ()

    def __post_init__(self) -> None:
        missing = [c for c in COLUMNS[self.kind] if c not in self.table.columns]
        if missing:
            raise DataError(
                f"data of kind '{self.kind}' needs the columns {', '.join(COLUMNS[self.kind])}; "
                f"got {', '.join(self.table.columns) or 'none'}",
                hint=f"name the missing one, for example {missing[0]}='your_column'",
            )
        if (self.kind == "collection") != (self.corpus is not None):
            raise DataError(
                f"data of kind '{self.kind}' {'needs' if self.corpus is None else 'has no'} corpus",
                hint="corpus= is a table of document_id and document, and belongs to kind='collection' alone",
            )

    def __len__(self) -> int:
        return self.table.height

    @property
    def negatives(self) -> tuple[str, ...]:
        """Names of the columns that hold explicit negatives."""
        return tuple(c for c in self.table.columns if c.startswith("negative_"))

    def take(self, rows: pl.Series | list[int]) -> Pairs:
        """The rows at these positions, in that order; the corpus stays whole."""
        return replace(self, table=self.table[rows])

    def __repr__(self) -> str:
        return f"Pairs(kind={self.kind!r}, rows={len(self)}, columns={self.table.columns}, source={self.source!r})"


def normalise(text: str) -> str:
    """One spelling for texts that differ only in width, case, spacing or outer punctuation (identity of a text).

    Unicode NFKC, case-folded, white space squeezed, punctuation and white space stripped from both ends. A text that is
    nothing but punctuation keeps it.
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    start, end = 0, len(folded)
    while start < end and unicodedata.category(folded[start])[0] in "PZ":
        start += 1
    while end > start and unicodedata.category(folded[end - 1])[0] in "PZ":
        end -= 1
    return folded[start:end] or folded
