from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from embedfit.data.shard_rows import slice_of, texts_of
from embedfit.data.shards import Shards, open_shards
from embedfit.engine.step import Objective, train_step
from embedfit.engine.stream import Stream
from embedfit.errors import DataError
from embedfit.losses import InfoNCE
from embedfit.pairs import normalise
from embedfit.towers import TwoTower, build

QUERIES = ["lost card", "Lost  card", "stolen card", "a new pin", "pin please", "card lost", "lost card", "top up"]
POSITIVES = [
    "block it",
    "Block it",
    "block it",
    "ask for a pin",
    "ask for a pin",
    "order one",
    "order one",
    "lost card",
]


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    pl.DataFrame({"query": QUERIES, "positive": POSITIVES}).write_parquet(tmp_path / "p.parquet", row_group_size=3)
    return open_shards(tmp_path)


@pytest.fixture
def model() -> TwoTower:
    return TwoTower(build("static", [*QUERIES, *POSITIVES], dimension=4, seed=0))


def test_a_streamed_batch_is_what_its_texts_say(shards: Shards, model: TwoTower) -> None:
    batch = Stream(shards=shards, model=model).batch(0, batch_size=8)
    queries, positives, _ = texts_of(shards, slice_of(shards, 0, batch_size=8, seed=0))
    assert sorted(queries) == sorted(QUERIES)
    assert torch.equal(batch.query.ids.long(), model.query.tokenize(queries).ids.long())
    own = batch.document.select(batch.positive)
    assert torch.equal(own.ids.long(), model.document.tokenize(positives).ids.long())
    assert len(batch.document) == len(set(POSITIVES))  # each once, as it stands
    told = torch.cat([batch.query_id, batch.document_id[batch.positive]])
    said = [normalise(text) for text in [*queries, *positives]]
    for i, a in enumerate(said):
        for j, b in enumerate(said):
            assert bool(told[i] == told[j]) == (a == b), (a, b)


def test_other_positives_of_a_query_in_the_batch_are_known(shards: Shards, model: TwoTower) -> None:
    batch = Stream(shards=shards, model=model).batch(0, batch_size=8)
    queries, positives, _ = texts_of(shards, slice_of(shards, 0, batch_size=8, seed=0))
    step = train_step(Objective(model=model, loss=InfoNCE(temperature=0.1), known="batch"), batch, number=0)
    assert step.pairing.doubtful is not None
    assert step.pairing.doubtful.known is not None
    known = step.pairing.doubtful.known(batch.query_id, batch.document_id)[:, batch.positive]
    pairs = {(normalise(q), normalise(p)) for q, p in zip(queries, positives, strict=True)}
    wanted = [[(normalise(q), normalise(p)) in pairs for p in positives] for q in queries]
    assert known.tolist() == wanted


def test_rows_that_are_held_out_or_have_no_text_are_left_out_and_the_others_stay_as_they_are(
    shards: Shards, model: TwoTower, tmp_path: Path
) -> None:
    whole = Stream(shards=shards, model=model).batch(0, batch_size=8)
    holes = [*POSITIVES[:3], None, *POSITIVES[4:]]
    (tmp_path / "holes").mkdir()
    pl.DataFrame({"query": QUERIES, "positive": holes}).write_parquet(
        tmp_path / "holes" / "p.parquet", row_group_size=3
    )
    given = open_shards(tmp_path / "holes", on_bad_rows="skip")
    batch = Stream(shards=replace(given, held_out=frozenset({normalise("LOST card.")})), model=model).batch(
        0, batch_size=8
    )
    gone = {3, *(i for i, query in enumerate(QUERIES) if normalise(query) == "lost card")}
    left = [i for i, row in enumerate(whole.rows.tolist()) if row not in gone]
    assert batch.rows.tolist() == whole.rows[left].tolist()
    assert sorted(batch.rows.tolist()) == sorted(set(range(8)) - gone)
    for mine, theirs in ((batch.query, whole.query), (batch.document, whole.document)):
        assert mine.ids.dtype == theirs.ids.dtype
    assert torch.equal(batch.query.ids, whole.query.select(torch.tensor(left)).ids)
    own, others = (b.document.select(b.positive) for b in (batch, whole))
    assert torch.equal(own.ids, others.select(torch.tensor(left)).ids)
    with pytest.raises(DataError, match=r"row 1 of row group 2 has no text in the column 'positive'"):
        Stream(shards=open_shards(tmp_path / "holes"), model=model).batch(0, batch_size=8)
    nothing = replace(shards, held_out=frozenset(map(normalise, QUERIES)))
    with pytest.raises(DataError, match="0 can be trained on"):
        Stream(shards=nothing, model=model).batch(0, batch_size=8)


def test_a_row_is_named_by_its_place(shards: Shards) -> None:
    assert shards.named(4).endswith("p.parquet: row 2 of row group 2")
