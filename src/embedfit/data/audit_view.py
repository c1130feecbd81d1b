"""A table as the audit sees it: two sides and a class, as 64-bit identities that are counted without copying a text."""

from __future__ import annotations

__all__ = ["Rows", "identities", "rows"]

from dataclasses import dataclass

import polars as pl

from embedfit.data.identity import normalised
from embedfit.pairs import Pairs

_SLICE = 500_000  # texts normalised at a time: bounds the memory


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """The two sides of a table, whatever its kind.

    Attributes:
        pairs: what was read.
        query: name of the column with the first side.
        document: the second side's texts, row by row; None for classes without a text of their own.
        keys: one row per row of the table, all identities (UInt64): `query` and `document` after normalisation,
            `query_exact` and `document_exact` before; `class` (what should be found: the document, or the label),
            absent for graded pairs; `relevant` (bool). A document that the corpus does not hold is null.
    """

    pairs: Pairs
    query: str
    document: pl.Series | None
    keys: pl.DataFrame

    def __len__(self) -> int:
        return self.keys.height

    @property
    def queries(self) -> pl.Series:
        """The first side's texts, row by row."""
        return self.pairs.table[self.query]

    @property
    def relevant(self) -> pl.DataFrame:
        """Keys of the rows that say what belongs together; none for graded pairs."""
        return self.keys.filter("relevant") if "class" in self.keys.columns else self.keys.head(0)


def identities(texts: pl.Series) -> pl.DataFrame:
    """Columns `exact` and `normal`: 64-bit hashes of each text as it stands and after normalisation; null is empty.

    Two different texts share a hash with probability 2^-64: among 10 million texts, once in 370,000 tables.
    """
    texts = texts.cast(pl.String).fill_null("")
    exact = texts.hash().alias("exact")
    distinct = exact.to_frame().with_row_index("row").unique("exact", keep="any")
    parts = [normalised(texts.gather(piece["row"])).hash() for piece in distinct.iter_slices(_SLICE)]
    normal = pl.concat(parts) if parts else pl.Series(dtype=pl.UInt64)
    table = distinct.select("exact", normal=normal)
    return exact.to_frame().join(table, on="exact", how="left", maintain_order="left")


def rows(pairs: Pairs) -> Rows:
    """The two sides of a table with their identities."""
    table = pairs.table
    if pairs.kind == "collection":
        return _collection(pairs)
    if pairs.kind == "classes":
        document = table["label_text"].fill_null("") if "label_text" in table.columns else None
        keys = _keys(table["text"], table["label"] if document is None else document)
        label = table["label"].cast(pl.String).fill_null("").hash()
        return Rows(pairs=pairs, query="text", document=document, keys=keys.with_columns(label.alias("class")))
    first, second = ("sentence1", "sentence2") if pairs.kind == "graded" else ("query", "positive")
    keys = _keys(table[first], table[second])
    if pairs.kind == "pairs":
        keys = keys.with_columns(pl.col("document").alias("class"))
    return Rows(pairs=pairs, query=first, document=table[second].fill_null(""), keys=keys)


def _keys(query: pl.Series, document: pl.Series) -> pl.DataFrame:
    left, right = identities(query), identities(document)
    return pl.DataFrame(
        {
            "query": left["normal"],
            "query_exact": left["exact"],
            "document": right["normal"],
            "document_exact": right["exact"],
        }
    ).with_columns(relevant=pl.lit(value=True))


def _collection(pairs: Pairs) -> Rows:
    assert pairs.corpus is not None
    corpus = pairs.corpus.unique("document_id", keep="first", maintain_order=True)
    place = pairs.table.select("document_id").join(
        corpus.select("document_id").with_row_index("row"), on="document_id", how="left", maintain_order="left"
    )["row"]
    known, asked = identities(corpus["document"]), identities(pairs.table["query"])
    keys = pl.DataFrame(
        {
            "query": asked["normal"],
            "query_exact": asked["exact"],
            "document": known["normal"].gather(place),
            "document_exact": known["exact"].gather(place),
            "relevant": (pairs.table["relevance"] > 0).fill_null(False) & place.is_not_null(),
        }
    ).with_columns(pl.col("document").alias("class"))
    return Rows(pairs=pairs, query="query", document=corpus["document"].gather(place).fill_null(""), keys=keys)
