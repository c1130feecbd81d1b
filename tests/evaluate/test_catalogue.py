from __future__ import annotations

import numpy as np
import pytest
from worlds import unit

from embedfit.errors import DataError, RunError
from embedfit.evaluate.catalogue import Catalogue, load, save
from embedfit.evaluate.faq import scorer


def catalogue(rng: np.random.Generator, how: str = "blend") -> Catalogue:
    """60 documents with one to five keys each; three of them are known by the very same keys."""
    sizes = rng.integers(1, 6, size=60)
    sizes[[10, 30, 50]] = 2
    owner = np.repeat(np.arange(60), sizes)
    key = unit(rng.normal(size=(owner.size, 16)))
    for twin in (30, 50):
        key[owner == twin] = key[owner == 10]
    return Catalogue(candidates=tuple(f"d{i}" for i in range(60)), owner=owner, embedding=key, how=how, threshold=0.25)


@pytest.mark.parametrize("how", ["blend", "max", "centroid", "top2", "anchored"])
@pytest.mark.parametrize("k", [1, 7, 100])
def test_what_is_found_is_what_evaluation_would_rank_first(rng, how, k):
    made, query = catalogue(rng, how), unit(rng.normal(size=(20, 16)))
    score = scorer(query, made.embedding, made.owner, how)(np.arange(20))
    for line, found in zip(score, made.find(query, k), strict=True):
        assert [a.rank for a in found] == list(range(1, min(k, 60) + 1))
        assert [a.score for a in found] == pytest.approx(np.sort(line)[::-1][:k], abs=1e-6)
        assert [line[int(a.document[1:])] for a in found] == pytest.approx([a.score for a in found], abs=1e-6)


def test_documents_with_the_same_keys_score_alike_and_stand_in_the_order_of_the_catalogue(rng):
    made = catalogue(rng)
    found = made.find(made.embedding[made.owner == 10][:1], 3)[0]
    assert [a.document for a in found] == ["d10", "d30", "d50"]
    assert len({a.score for a in found}) == 1


def test_a_catalogue_comes_back_from_its_folder_as_it_was(rng, tmp_path):
    made, query = catalogue(rng), unit(rng.normal(size=(3, 16)))
    save(made, tmp_path)
    again = load(tmp_path)
    assert (again.how, again.threshold) == (made.how, made.threshold)
    assert again.find(query, 5) == made.find(query, 5)


def test_a_folder_without_a_catalogue_and_a_search_for_nothing_are_errors(rng, tmp_path):
    with pytest.raises(RunError, match="no usable catalogue"):
        load(tmp_path)
    with pytest.raises(DataError, match="k is 0"):
        catalogue(rng).find(unit(np.ones((1, 16))), 0)
