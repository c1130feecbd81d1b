"""A table as the audit sees it: two sides and a class as small whole numbers, counted without copying a text."""

from __future__ import annotations

__all__ = ["Rows", "counts", "edges", "numbered", "packed", "repeated", "rows", "unpacked"]

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int, UInt32

from embedfit.data.identity import normalised
from embedfit.pairs import Pairs

_SLICE = 500_000  # texts normalised at a time: bounds the memory
_SIDES = {"pairs": ("query", "positive"), "graded": ("sentence1", "sentence2"), "clicks": ("query", "document")}
_AHEAD = 1_000_000  # rows among which examples of repeats are looked for first


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """The two sides of a table, whatever its kind.

    Two different texts share a 64-bit hash, and so a number, with probability 2^-64: among 10 million texts, once in
    370,000 tables.

    Attributes:
        pairs: what was read.
        query: name of the column with the first side.
        document: the second side's texts, row by row; None for classes without a text of their own.
        keys: one row per row of the table, equal numbers for equal texts: `query`, `document` and the negatives after
            normalisation, numbered together; `query_exact`, `document_exact` and `negative_1_exact`, ... as they stand,
            numbered together; `class` (what should be found: the document, or the label), absent for graded pairs;
            `relevant` (bool). A document that the corpus does not hold is null, and so is a missing negative.
        exact: 64-bit hash of the text that each exact number stands for, to compare with another table.
        normal: the same for the numbers after normalisation.
    """

    pairs: Pairs
    query: str
    document: pl.Series | None
    keys: pl.DataFrame
    exact: pl.Series
    normal: pl.Series

    def __len__(self) -> int:
        return self.keys.height

    @property
    def queries(self) -> pl.Series:
        """The first side's texts, row by row."""
        return self.pairs.table[self.query]

    @property
    def relevant(self) -> pl.DataFrame:
        """Keys of the rows that say what belongs together; none for graded pairs."""
        if "class" not in self.keys.columns:
            return self.keys.head(0)
        return self.keys if self.keys["relevant"].all() else self.keys.filter("relevant")


def numbered(values: pl.Series) -> tuple[pl.Series, UInt32[np.ndarray, " c"]]:
    """Equal values as equal numbers 0, 1, 2, ...; null stays null.

    Returns:
        The numbers (UInt32), and for each number the last place where it stands.
    """
    # sorting takes no more time and memory where all values differ, which hash tables do
    numbers = values.rank("dense") - 1
    at = (
        numbers.is_not_null().arg_true().to_numpy()
        if numbers.null_count()
        else np.arange(len(numbers), dtype=np.uint32)
    )
    stands = np.empty(int(numbers.max()) + 1 if len(at) else 0, dtype=np.uint32)  # type: ignore[arg-type]
    stands[numbers.drop_nulls().to_numpy()] = at
    return numbers, stands


def repeated(values: pl.Series, most: int) -> pl.Series:
    """The first `most` rows that equal an earlier one, in order."""
    again = (~values.head(_AHEAD).is_first_distinct()).arg_true()
    if len(again) < most and len(values) > _AHEAD:  # rare: look only where a value occurs twice
        table = values.alias("value").to_frame()
        twice = table.group_by("value").len().filter(pl.col("len") > 1)["value"]
        at = table["value"].is_in(twice.implode()).arg_true()
        again = at.filter(~values.gather(at).is_first_distinct())
    return again.head(most)


def counts(numbers: pl.Series) -> Int[np.ndarray, " c"]:
    """How often each number from 0 on occurs."""
    return np.bincount(numbers.drop_nulls().to_numpy())


def packed(keys: pl.DataFrame) -> pl.Series:
    """`query` and `document` of each row as one 64-bit number; null where either is."""
    wide = keys.select("query", "document").cast(pl.UInt64)
    return wide.select(pair=pl.col("query") * 2**32 + pl.col("document")).to_series()


def unpacked(pairs: pl.Series) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"]]:
    """Query and document of numbers that `packed` made."""
    numbers = pairs.to_numpy()
    return (numbers >> np.uint64(32)).astype(np.int64), (numbers & np.uint64(2**32 - 1)).astype(np.int64)


def edges(keys: pl.DataFrame) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"]]:
    """The different pairs of query and document among some rows, as two columns of numbers; none with a null."""
    return unpacked(packed(keys).drop_nulls().unique())


def rows(pairs: Pairs) -> Rows:
    """The two sides of a table with their numbers."""
    table = pairs.table
    if pairs.kind == "collection":
        return _collection(pairs)
    if pairs.kind == "classes":
        titles = {"document": table["label_text"]} if "label_text" in table.columns else {}
        keys, exact, normal = _keys({"query": table["text"], **titles})
        label = numbered(table["label"].cast(pl.String).fill_null("").hash())[0]
        return Rows(
            pairs=pairs,
            query="text",
            document=titles["document"].fill_null("") if titles else None,
            keys=keys.with_columns(label.alias("class")),
            exact=exact,
            normal=normal,
        )
    first, second = _SIDES[pairs.kind]
    keys, exact, normal = _keys(
        {"query": table[first], "document": table[second], **{c: table[c] for c in pairs.negatives}}
    )
    if pairs.kind != "graded":
        keys = keys.with_columns(pl.col("document").alias("class"))
    if pairs.kind == "clicks":
        keys = keys.with_columns(relevant=(table["clicked"].cast(pl.Float64) == 1).fill_null(value=False))
    return Rows(pairs=pairs, query=first, document=table[second].fill_null(""), keys=keys, exact=exact, normal=normal)


def _keys(columns: dict[str, pl.Series]) -> tuple[pl.DataFrame, pl.Series, pl.Series]:
    """Numbers of all texts, and the hashes behind the exact and the normal ones. A missing cell is an empty text."""
    texts = {name: c.cast(pl.String) if name.startswith("negative_") else c.cast(pl.String).fill_null("")
             for name, c in columns.items()}  # fmt: skip
    hashes = pl.concat([c.hash().alias("exact") if c.null_count() == 0 else _hash_or_null(c) for c in texts.values()])
    exact, at = numbered(hashes)
    normal_hashes = _normal_hashes(pl.concat(list(texts.values())), exact, at)
    hashes = hashes.gather(at)
    normal, of_normal = numbered(normal_hashes)
    both = pl.DataFrame({"exact": exact, "normal": normal.gather(exact)})
    parts: dict[str, pl.Series] = {}
    for place, name in enumerate(texts):
        part = both.slice(place * len(texts[name]), len(texts[name]))
        parts |= {name: part["normal"], f"{name}_exact": part["exact"]}
    return pl.DataFrame(parts).with_columns(relevant=pl.lit(value=True)), hashes, normal_hashes.gather(of_normal)


def _hash_or_null(texts: pl.Series) -> pl.Series:
    return pl.select(pl.when(texts.is_not_null()).then(texts.hash()).alias("exact")).to_series()


def _normal_hashes(texts: pl.Series, exact: pl.Series, at: UInt32[np.ndarray, " c"]) -> pl.Series:
    """The hash after normalisation of the text that each exact number stands for."""
    at = np.sort(at)  # texts that lie beside each other are fetched ten times as fast as those at random places
    out = np.empty(len(at), dtype=np.uint64)
    for start in range(0, len(at), _SLICE):
        piece = at[start : start + _SLICE]
        out[exact.gather(piece).to_numpy()] = normalised(texts.gather(piece)).hash().to_numpy()
    return pl.Series("normal", out)


def _collection(pairs: Pairs) -> Rows:
    assert pairs.corpus is not None
    corpus = pairs.corpus.unique("document_id", keep="first", maintain_order=True)
    place = pairs.table.select("document_id").join(
        corpus.select("document_id").with_row_index("row"), on="document_id", how="left", maintain_order="left"
    )["row"]
    asked = pairs.table.height
    # one column of two parts, so that queries and documents are numbered together
    both, exact, normal = _keys({"query": pl.concat([pairs.table["query"], corpus["document"].alias("query")])})
    keys = pl.DataFrame(
        {
            "query": both["query"].head(asked),
            "query_exact": both["query_exact"].head(asked),
            "document": both["query"].slice(asked).gather(place),
            "document_exact": both["query_exact"].slice(asked).gather(place),
            "relevant": (pairs.table["relevance"] > 0).fill_null(False) & place.is_not_null(),
        }
    ).with_columns(pl.col("document").alias("class"))
    return Rows(
        pairs=pairs,
        query="query",
        document=corpus["document"].gather(place).fill_null(""),
        keys=keys,
        exact=exact,
        normal=normal,
    )
