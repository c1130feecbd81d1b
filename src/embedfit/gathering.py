"""From the files that a recipe names to the rows of a run: read, or looked into, and divided."""

from __future__ import annotations

__all__ = ["divide", "gather", "training_rows"]

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from embedfit.data import read, split
from embedfit.data.shard_rows import sample_of
from embedfit.data.shards import Shards, open_shards, too_large
from embedfit.data.split import held_out_size
from embedfit.data.texts import read_texts
from embedfit.errors import DataError
from embedfit.judging import Rows
from embedfit.pairs import Pairs, normalise
from embedfit.recipe import Recipe


def gather(recipe: Recipe, *, train: Pairs | None = None, dev: Pairs | None = None) -> Rows:
    """Read the rows a recipe names; of rows that are to be read in parts, a sample.

    Args:
        recipe: the settings.
        train: training rows at hand; none: those of `data.files`.
        dev: held-out rows at hand; none: those of `data.dev_files`, or a part of the training rows.

    Raises:
        DataError: they cannot be read or divided.
    """
    data = recipe.data
    if train is None and not data.files:
        raise DataError("the recipe names no data", hint='data.files = ["faq.csv"]')
    outside = tuple(text for file in data.out_of_scope for text in read_texts(file, encoding=data.encoding))
    train, shards = training_rows(recipe) if train is None else (train, None)
    if dev is None and data.dev_files:
        dev = read_files(recipe, data.dev_files)
    if dev is not None:
        return Rows(train=train, dev=dev, out_of_scope=outside, shards=shards)
    where = "" if shards is None else f" in the sample of the {len(shards):,} that are read in parts"
    rows = divide(train, data.dev, seed=recipe.optim.seed, where=where)
    if shards is not None and rows.dev is not None:  # by their text: the same query may stand anywhere
        shards = replace(shards, held_out=frozenset(map(normalise, rows.dev.table["query"])))
    return replace(rows, out_of_scope=outside, shards=shards)


def training_rows(recipe: Recipe) -> tuple[Pairs, Shards | None]:
    """The training rows, or a sample of them and what it is a sample of.

    Raises:
        DataError: they cannot be read.
    """
    shards = shards_of(recipe)
    if shards is None:
        return read_files(recipe, recipe.data.files), None
    return sample_of(shards, seed=recipe.optim.seed), shards


def shards_of(recipe: Recipe) -> Shards | None:
    """The training files, if they are to be read in parts: as asked, or pairs that memory would not hold.

    Raises:
        DataError: they are no pairs in Parquet, and were asked to be read in parts.
    """
    data = recipe.data
    fits = data.kind in ("auto", "pairs")
    if not (data.stream if data.stream != "auto" else fits and too_large(data.files)):
        return None
    if not fits:
        raise DataError(
            f"rows of kind '{data.kind}' cannot be read in parts; only pairs can", hint="set data.stream = false"
        )
    return open_shards(data.files, columns=data.columns, on_bad_rows=data.on_bad_rows)


def read_files(recipe: Recipe, files: Sequence[str]) -> Pairs:
    """Rows of some files, as the recipe wants them read."""
    data = recipe.data
    source: Any = files[0] if len(files) == 1 else list(files)
    return read(source, kind=data.kind, columns=data.columns, on_bad_rows=data.on_bad_rows, encoding=data.encoding)


def divide(pairs: Pairs, dev: float | Literal["auto"], *, seed: int, where: str = "") -> Rows:
    """Hold rows out; where the rows do not allow it, train on all of them and say so.

    Args:
        pairs: the rows.
        dev: a share below 1, or a number of them.
        seed: of the division.
        where: they stand, in words, where they are not all there are.

    Raises:
        DataError: as many rows are to be held out as there are, or more, or not a whole number of them.
    """
    dev = held_out_size(len(pairs)) if dev == "auto" else dev
    if dev == 0:
        return Rows(train=pairs, dev=None, note="nothing is held out, as asked")
    if dev >= 1 and (dev != int(dev) or dev >= len(pairs)):
        raise DataError(
            f"data.dev is {dev:g}, and there are {len(pairs):,} rows{where}",
            hint="a share below 1, or a whole number of rows below their number"
            + ("; or name a file of them with --dev" if where else ""),
        )
    try:
        train, held_out = split(pairs, dev=dev if dev < 1 else int(dev), seed=seed)
    except DataError as error:
        return Rows(train=pairs, dev=None, note=error.message)
    if len(train) < 2:
        return Rows(train=pairs, dev=None, note=f"{len(pairs)} rows{where} are too few to hold any out")
    return Rows(train=train, dev=held_out)
