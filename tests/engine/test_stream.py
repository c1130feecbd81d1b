from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch

from embedfit.data.shards import Shards, open_shards, slice_of, texts_of
from embedfit.engine.stream import known_of, streamed
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
    batch = streamed(shards, model, 0, batch_size=8)
    queries, positives = texts_of(shards, slice_of(shards, 0, batch_size=8, seed=0))
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
    batch = streamed(shards, model, 0, batch_size=8)
    queries, positives = texts_of(shards, slice_of(shards, 0, batch_size=8, seed=0))
    known = known_of(batch)(batch.query_id, batch.document_id)[:, batch.positive]
    pairs = {(normalise(q), normalise(p)) for q, p in zip(queries, positives, strict=True)}
    wanted = [[(normalise(q), normalise(p)) in pairs for p in positives] for q in queries]
    assert known.tolist() == wanted
