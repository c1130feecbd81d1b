"""A log of clicks whose documents stand in a table of their own, by their ids."""

from __future__ import annotations

__all__ = ["read_log"]

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from embedfit.data.bind import bind_roles
from embedfit.data.binding import Binding
from embedfit.data.collection import read_one, some_ids, unique_ids, with_titles
from embedfit.data.rows import OnBadRows, gather
from embedfit.data.tables import Table
from embedfit.errors import BadRow, DataError
from embedfit.pairs import Pairs

_LOG = (("query", "document_id", "clicked"), ("query_id", "session_id", "position", "timestamp"))


def read_log(table: Table, corpus: Path, *, roles: Mapping[str, Any], on_bad_rows: OnBadRows, encoding: str) -> Pairs:
    """Read a log of clicks whose documents stand in a table of their own.

    Args:
        table: the log.
        corpus: the documents by `document_id`.
        roles: role -> column, taken in the log and in the corpus, whichever has it.
        on_bad_rows: "skip" also leaves out rows that show an unknown document.
        encoding: of text files.

    Raises:
        DataError: a column is missing, an id stands for two texts, or a row shows an unknown document.
    """
    required, optional = _LOG
    bound = bind_roles(table.columns, required=required, optional=optional, roles=roles, name=table.name, kind="clicks")
    texts = read_one("corpus", corpus, roles, on_bad_rows, encoding)
    rows, bound, left_out = gather(table.load(list(bound.values()), []), bound, on_bad_rows, table.name)
    strange = [r for r, c in roles.items() if c not in (bound.get(r), texts.binding.get(r))]
    if strange:
        raise DataError(
            f"neither {table.name} nor {texts.name} has a column '{roles[strange[0]]}' for the role '{strange[0]}'",
            hint=f"the columns are {', '.join((*table.columns, *texts.binding.values(), *texts.binding.unused))}",
        )
    documents, notes = unique_ids(with_titles(texts.rows), "document_id", "document", texts.name)
    documents = documents.filter(pl.col("document") != "")
    known = rows.join(documents, on="document_id", how="inner", maintain_order="left")
    if known.height < rows.height:
        ids = rows.join(documents, on="document_id", how="anti", maintain_order="left")["document_id"]
        named = some_ids(ids.unique(maintain_order=True))
        said = f"{table.name}: {named} without a text in {texts.name} ({len(ids):,} rows)"
        if on_bad_rows == "error" or not known.height:
            raise DataError(said, hint="bring the two together, or leave such rows out: on_bad_rows='skip' "
                            "(--on-bad-rows skip)")  # fmt: skip
        reason = f"a document without a text in {texts.name}"
        left_out = (*left_out, *(BadRow(table.name, 0, bound["document_id"], f"'{i}': {reason}") for i in ids))
    columns = {**bound, "document": texts.binding["document"]}
    notes = (*table.notes, *bound.notes, *texts.binding.notes, *notes)
    return Pairs(
        kind="clicks",
        table=known,
        source=table.name,
        binding=Binding(columns, (*bound.unused, *texts.binding.unused), notes),
        left_out=(*left_out, *texts.left_out),
    )
