"""Holds rows out for evaluation without letting a text be on both sides."""

from __future__ import annotations

__all__ = ["held_out_size", "leakage", "split"]

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import polars as pl

from embedfit.data.binding import Binding
from embedfit.data.clicks import clicked
from embedfit.data.identity import normalised
from embedfit.errors import DataError
from embedfit.pairs import Pairs

_LARGEST_SHARE = 0.1
"""Graded pairs tied together by shared sentences are held out only in groups below this share of the held-out rows."""


def split(pairs: Pairs, *, dev: float | int = 0.1, seed: int = 0) -> tuple[Pairs, Pairs]:
    """Divide rows into training and held-out rows; rows with the same query (after `normalise`) stay on one side.

    Which side a text falls on depends on its own spelling and the seed, not on where it stands: rows may be reordered,
    and new rows move few old ones. Documents may be on both sides. Classes are held out in proportion; of every class
    at least one distinct text stays in training, so a class with one text is never held out. Graded pairs that share a
    sentence stay together, large groups of such pairs in training; where that would keep more than half of the rows in
    training, only equal pairs stay together. Queries of a log that have no click are no examination: they stay in
    training.

    Args:
        pairs: rows of any kind; the corpus of a collection stays whole on both sides.
        dev: share of the rows (a float in (0, 1)) or number of rows (an int) to hold out; met as closely as texts that
            occur several times allow.
        seed: another seed, another division.

    Returns:
        Training rows and held-out rows, each in their original order.

    Raises:
        DataError: `dev` is out of range, or there are too few different texts to divide.
    """
    target = _target(dev, len(pairs))
    groups, largest, how = _groups(pairs, target)
    table = _priorities(pairs, groups, seed).with_columns(pl.col("eligible") & (pl.col("rows") <= largest))
    if table.height < 2 or table["eligible"].sum() < (2 if pairs.kind == "clicks" else 1):
        raise DataError(
            f"nothing can be held out: {len(pairs)} rows have {table.height} different {_unit(pairs)}"
            + (
                ", and every class keeps at least one in training"
                if pairs.kind == "classes"
                else f"; expected at least 2{' with a click' if pairs.kind == 'clicks' else ''}"
            ),
            hint="give more rows, or held-out rows of their own",
        )
    eligible = table.filter("eligible").sort("priority", "group")
    most = eligible.height if pairs.kind == "clicks" else table.height  # training needs a query with a click, too
    chosen = _filled(eligible, min(target, len(pairs) - 1), most)
    held_out = groups.is_in(chosen.implode())
    train, held = (replace(pairs, table=pairs.table.filter(mask)) for mask in (~held_out, held_out))
    note = f"split: {len(train):,} rows to train on, {len(held):,} held out; {how}"
    return _noted(train, note), _noted(held, note)


def leakage(train: Pairs, dev: Pairs) -> float:
    """Share of held-out rows whose query (graded: either sentence) is in the training rows too, after `normalise`."""
    if not len(dev):
        return 0.0
    columns = _text_columns(dev)
    known = pl.concat([normalised(train.table[c]).rename("text") for c in _text_columns(train)]).unique()
    seen = [normalised(dev.table[c]).is_in(known.implode()).rename(c) for c in columns]
    return float(pl.DataFrame(seen).select(pl.any_horizontal(columns).mean()).item())


def _text_columns(pairs: Pairs) -> tuple[str, ...]:
    return {"classes": ("text",), "graded": ("sentence1", "sentence2")}.get(pairs.kind, ("query",))


def _unit(pairs: Pairs) -> str:
    return {"classes": "texts", "graded": "groups of pairs"}.get(pairs.kind, "queries")


def _target(dev: float | int, rows: int) -> int:
    if isinstance(dev, bool) or not (0 < dev < 1 if isinstance(dev, float) else 1 <= dev < rows):
        raise DataError(
            f"dev={dev!r} of {rows:,} rows is not possible; expected a share between 0 and 1 or a number of rows "
            f"from 1 to {max(1, rows - 1):,}",
            hint="dev=0.1 holds out a tenth of the rows",
        )
    return max(1, round(dev * rows)) if isinstance(dev, float) else dev


def _groups(pairs: Pairs, target: int) -> tuple[pl.Series, int, str]:
    """A text for every row, equal where rows must stay on one side; most rows that may be held out so; and why."""
    if pairs.kind != "graded":
        column = _text_columns(pairs)[0]
        return normalised(pairs.table[column]).rename("group"), len(pairs), f"the same {column} is never on both sides"
    first, second = (normalised(pairs.table[c]) for c in _text_columns(pairs))
    table = pl.DataFrame({"component": _components(first, second), "a": first, "b": second}).with_columns(
        group=pl.min_horizontal("a", "b").min().over("component"), rows=pl.len().over("component")
    )
    largest = max(1, int(target * _LARGEST_SHARE))
    tied = float((table["rows"] > largest).mean())  # type: ignore[arg-type]
    if tied <= 0.5:
        how = "the same sentence is never on both sides"
        return (
            table["group"],
            largest,
            how + (f" ({tied:.0%} of the rows share sentences widely: to train)" if tied else ""),
        )
    pair = pl.select(pl.min_horizontal(first, second) + "\0" + pl.max_horizontal(first, second)).to_series()
    how = f"the same pair is never on both sides, single sentences are: they tie {tied:.0%} of the rows together"
    return pair.rename("group"), len(pairs), how


def _components(first: pl.Series, second: pl.Series) -> pl.Series:
    """Which connected component of the graph of sentences each pair belongs to."""
    from scipy.sparse import coo_array  # slow to import, and only graded pairs need it
    from scipy.sparse.csgraph import connected_components

    ids = pl.concat([first.rename("text"), second.rename("text")]).rank("dense").to_numpy() - 1
    a, b = ids[: len(first)], ids[len(first) :]
    size = int(ids.max()) + 1
    _, labels = connected_components(
        coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(size, size)), directed=False
    )
    return pl.Series("component", labels[a])


def _priorities(pairs: Pairs, groups: pl.Series, seed: int) -> pl.DataFrame:
    """One row per group: `group`, `rows`, `priority` (lowest are held out first), `eligible`.

    Without classes the priority is a hash of the text. With classes it is the rank of the text among its class's n
    texts in the order of their hashes, plus a hash of the class, over n: whatever the threshold, every class gives its
    share.
    """
    table = groups.to_frame().group_by("group").agg(rows=pl.len())
    table = table.with_columns(hash=_hashes(table["group"], seed))
    if pairs.kind == "clicks":
        hit = groups.filter(clicked(pairs)).unique()
        return table.select("group", "rows", priority="hash", eligible=pl.col("group").is_in(hit.implode()))
    if pairs.kind != "classes":
        return table.select("group", "rows", priority="hash", eligible=pl.lit(True))
    members = pl.DataFrame([groups, pairs.table["label"]]).unique().join(table, on="group")
    labels = members.select("label").unique()
    labels = labels.with_columns(offset=_hashes(labels["label"], seed))
    # A text under several labels comes last in each of its classes: it is a poor question to be examined on, and kept
    # in training it serves all of them.
    members = (
        members.join(labels, on="label").with_columns(labels=pl.len().over("group")).sort("labels", "hash", "group")
    )
    rank, size = pl.int_range(pl.len()).over("label"), pl.len().over("label")
    members = members.with_columns(priority=(rank + pl.col("offset")) / size, eligible=rank < size - 1)
    return members.group_by("group").agg(pl.col("rows").first(), pl.col("priority").min(), pl.col("eligible").all())


def _hashes(texts: pl.Series, seed: int) -> pl.Series:
    """A number in [0, 1) per text that no version of any library changes."""
    salt = seed.to_bytes(16, "big", signed=True)
    digests = b"".join(blake2b(text.encode(), digest_size=8, key=salt).digest() for text in texts)
    return pl.Series("hash", np.frombuffer(digests, dtype=">u8").astype(np.uint64) / 2.0**64)


def _filled(table: pl.DataFrame, target: int, groups: int) -> pl.Series:
    """Groups in order of priority until `target` rows are held out; one that is too large is passed over.

    At least one group is held out, and one stays.
    """
    chosen, total = list[int](), 0
    sizes: Sequence[int] = table["rows"].to_list()
    for i, size in enumerate(sizes):
        if total + size <= target and len(chosen) < groups - 1:
            chosen.append(i)
            total += size
        if total == target:
            break
    if not chosen:
        chosen = [int(np.argmin(sizes))]
    return table["group"].gather(chosen)


def _noted(pairs: Pairs, note: str) -> Pairs:
    if isinstance(pairs.binding, Binding):
        return replace(pairs, binding=pairs.binding.with_notes(note))
    return replace(pairs, binding=Binding(dict(pairs.binding), (), (note,)))


def held_out_size(rows: int) -> float:
    """How many rows to hold out, or which share of them.

    500 rows know an accuracy of .9 to +-.026, which is enough to choose a step and a threshold by; all further rows are
    worth more to training. Of very many rows a hundredth is nothing to training, and makes the figure exact.
    """
    return 0.1 if rows <= 5_000 else float(max(500, rows // 100))
