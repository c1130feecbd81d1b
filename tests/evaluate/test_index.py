from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from worlds import unit

from embedfit.errors import DataError, ModelError
from embedfit.evaluate.export import export, read_exported
from embedfit.evaluate.index import build, check_rows, load, save, search, self_check
from embedfit.neighbours import indexing


@pytest.fixture
def vectors(rng) -> np.ndarray:
    return unit(rng.normal(size=(300, 16)))


def names(n: int) -> list[str]:
    return [f"d{i}" for i in range(n)]


def test_search_finds_what_a_sort_finds(rng, vectors):
    query = unit(rng.normal(size=(7, 16)))
    scores, rows = search(build(vectors, names(300)), query, 12)
    exact = query.astype(float) @ vectors.T.astype(float)
    expected = np.argsort(-exact, axis=1)[:, :12]
    assert rows.tolist() == expected.tolist()
    assert scores == pytest.approx(np.take_along_axis(exact, expected, 1), abs=1e-6)


def test_k_larger_than_the_index_returns_all(vectors):
    scores, rows = search(build(vectors[:3], names(3)), vectors[:2], 10)
    assert scores.shape == rows.shape == (2, 3)
    assert (np.sort(rows) == [0, 1, 2]).all()


@pytest.fixture
def small_codes(monkeypatch) -> None:
    """Codes may be learned from 256 rows."""
    monkeypatch.setattr(indexing, "_PER_CLUSTER", 1)


@pytest.mark.usefixtures("small_codes")
@pytest.mark.parametrize("kind", ["flat", "ivf", "pq", "hnsw"])
def test_every_kind_finds_its_own_documents(vectors, kind):
    index = build(vectors, names(300), kind=kind)
    assert index.vectors.kind == kind
    assert self_check(index, vectors, at_least=1.0) == {"checked": 300, "duplicates": 0, "missed": 0}


def test_exact_duplicates_count_as_themselves(vectors):
    vectors[7] = vectors[250]
    assert self_check(build(vectors, names(300)), vectors) == {"checked": 300, "duplicates": 1, "missed": 0}


def test_documents_in_another_order_are_noticed(vectors):
    index = build(vectors, names(300))
    with pytest.raises(ModelError, match="'d0' finds 'd1'"):
        self_check(index, vectors[[1, 0, *range(2, 300)]])


def test_another_model_is_noticed(rng, vectors):
    with pytest.raises(ModelError, match="300 of 300"):
        self_check(build(vectors, names(300)), unit(rng.normal(size=(300, 16))))


def test_a_slightly_different_encoding_passes_within_the_tolerance(rng, vectors):
    index = build(vectors, names(300))
    afresh = unit(vectors + 3e-3 * rng.normal(size=vectors.shape))
    rows = check_rows(300, sample=50)
    assert self_check(index, afresh[rows], rows)["checked"] == 50
    with pytest.raises(ModelError):
        self_check(index, afresh, tolerance=1e-7)


@pytest.mark.usefixtures("small_codes")
@pytest.mark.parametrize("kind", ["flat", "ivf", "pq", "hnsw"])
def test_a_folder_gives_back_the_same_index(tmp_path, vectors, kind):
    index = build(vectors, names(300), kind=kind, model="abc")
    save(index, tmp_path / "index")
    again = load(tmp_path / "index", model="abc")
    assert again.ids == index.ids
    assert again.metadata() == index.metadata() == json.loads((tmp_path / "index" / "index.json").read_text())
    for got, expected in zip(search(again, vectors[:5]), search(index, vectors[:5]), strict=True):
        assert got.tolist() == expected.tolist()
    self_check(again, vectors)
    assert str(again) == str(index)
    assert ("recall@10" in str(again)) == (kind != "flat")


def test_an_index_of_another_model_is_refused(tmp_path, vectors):
    save(build(vectors, names(300), model="abc"), tmp_path)
    with pytest.raises(ModelError, match="'abc'"):
        load(tmp_path, model="xyz")


def test_a_folder_that_lies_or_is_broken_is_refused(tmp_path, vectors):
    with pytest.raises(ModelError, match="no readable index"):
        load(tmp_path)
    save(build(vectors, names(300)), tmp_path)
    said = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(said | {"documents": 299}))
    with pytest.raises(ModelError, match="contradicts"):
        load(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps(said))
    (tmp_path / "index.faiss").write_bytes(b"no index")
    with pytest.raises(ModelError, match="no readable index"):
        load(tmp_path)


def test_what_cannot_be_indexed_is_an_error(vectors):
    with pytest.raises(ModelError, match="unit rows"):
        build(vectors * 2, names(300))
    with pytest.raises(DataError, match="'a'"):
        build(vectors[:3], ["a", "b", "a"])
    with pytest.raises(DataError, match="no documents"):
        build(vectors[:0], [])
    with pytest.raises(ModelError, match="3 dimensions"):
        search(build(vectors, names(300)), unit(np.ones((1, 3))))


def test_embeddings_are_exported_as_they_are(tmp_path, vectors):
    export(vectors, tmp_path / "e.npy")
    assert (np.load(tmp_path / "e.npy", allow_pickle=False) == vectors).all()
    export(vectors, tmp_path / "e.parquet", columns={"id": names(300)})
    table = pl.read_parquet(tmp_path / "e.parquet")
    assert table["id"].to_list() == names(300)
    assert (table["embedding"].to_numpy() == vectors).all()
    for name in ("e.npy", "e.parquet"):
        assert (read_exported(tmp_path / name) == vectors).all()
    for path, columns in (("e.csv", None), ("e.npy", {"id": names(300)})):
        with pytest.raises(DataError, match="npy or"):
            export(vectors, tmp_path / path, columns=columns)


@pytest.mark.parametrize("name", ["e.npy", "e.parquet"])
def test_embeddings_that_come_in_parts_are_exported_as_one_matrix(tmp_path, vectors, name):
    columns = [{"text": names(300)[i : i + 77]} if name == "e.parquet" else {} for i in range(0, 300, 77)]
    parts = zip([vectors[i : i + 77] for i in range(0, 300, 77)], columns, strict=True)
    export(parts, tmp_path / name)
    assert (read_exported(tmp_path / name) == vectors).all()
    if name == "e.parquet":
        assert pl.read_parquet(tmp_path / name)["text"].to_list() == names(300)
