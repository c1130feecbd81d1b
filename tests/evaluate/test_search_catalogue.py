from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from worlds import lookup, pairs, unit

from embedfit.errors import DataError, RunError
from embedfit.evaluate.baselines import lexical_scorer
from embedfit.evaluate.catalogue import Catalogue, build, load, save
from embedfit.evaluate.embedding import embed_task
from embedfit.evaluate.faq import scorer
from embedfit.evaluate.fusion import fuse
from embedfit.evaluate.lexical import Lexical
from embedfit.evaluate.lexical import build as build_lexical
from embedfit.evaluate.retrieval import rank_task
from embedfit.evaluate.tasks import task_of


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


def help_desk(rng: np.random.Generator):
    """Questions whose words tell half of the truth, and vectors that tell the other half."""
    rows = [(f"ask{v} thing{q % 6} please", f"about thing{q % 6} number {q}") for q in range(24) for v in range(2)]
    task = task_of(pairs(*rows))
    spots = rng.normal(size=(4, 8))
    number = {text: q for q, (_, text) in enumerate(rows[::2])}
    vectors = {text: spots[q // 6] + 0.1 * rng.normal(size=8) for text, q in number.items()}
    vectors |= {query: spots[number[text] // 6] + 0.1 * rng.normal(size=8) for query, text in rows}
    return task, lookup(vectors)


def test_a_fused_search_ranks_as_the_fused_scores_of_evaluation_do(rng, tmp_path):
    task, encode = help_desk(rng)
    made = build(encode, encode, task, how="blend")
    words = build_lexical(encode, encode, (task, task), how="blend", weight=0.6)
    save(replace(made, lexical=words), tmp_path)
    found = load(tmp_path).find_fused(task.queries, encode(list(task.queries)), 4)
    query, key = embed_task(encode, encode, task)
    both = fuse(lexical_scorer(task), scorer(query, key, task.owner), 0.6)
    score = both(np.arange(len(task.queries)))
    for line, answers in zip(score, found, strict=True):
        assert [a.score for a in answers] == pytest.approx(np.sort(line)[::-1][:4], abs=1e-5)
    right = [task.candidates[c] for c in rank_task(task, both).answer]
    assert [answers[0].document for answers in found] == right


def test_the_fused_threshold_keeps_nearly_all_of_the_right_answers(rng):
    task, encode = help_desk(rng)
    words = build_lexical(encode, encode, (task, task), how="blend", weight=0.5)
    made = replace(build(encode, encode, task, how="blend"), lexical=words)
    found = made.find_fused(task.queries, encode(list(task.queries)), 1)
    right = dict(zip(task.query.tolist(), task.relevant.tolist(), strict=True))
    good = [f[0].score for i, f in enumerate(found) if f[0].document == task.candidates[right[i]]]
    assert good
    assert np.mean(np.array(good) >= words.threshold) >= 0.97


def test_the_ends_of_the_weight_are_words_alone_and_the_model_alone(rng):
    task, encode = help_desk(rng)
    made, query = build(encode, encode, task, how="blend"), encode(list(task.queries))
    alone = {
        weight: replace(made, lexical=Lexical(keys=task.keys, owner=task.owner, weight=weight)) for weight in (0.0, 1.0)
    }
    dense = made.find(query, 1)
    assert [f[0].document for f in alone[1.0].find_fused(task.queries, query, 1)] == [f[0].document for f in dense]
    words = rank_task(task, lexical_scorer(task))
    for i, answer in enumerate(alone[0.0].find_fused(task.queries, query, 1)):
        scores = lexical_scorer(task)(np.array([i]))[0]
        assert scores[task.candidates.index(answer[0].document)] == pytest.approx(words.score[i])


def test_a_catalogue_without_words_says_that_it_cannot_fuse(rng):
    with pytest.raises(DataError, match="no weight to add TF-IDF with"):
        catalogue(rng).find_fused(["x"], unit(np.ones((1, 16))), 3)


def test_broken_words_are_an_error_that_names_the_catalogue(rng, tmp_path):
    task, encode = help_desk(rng)
    words = Lexical(keys=task.keys, owner=task.owner, weight=0.5)
    save(replace(build(encode, encode, task, how="blend"), lexical=words), tmp_path)
    (tmp_path / "words.json").write_text("[]")
    with pytest.raises(RunError, match="no usable catalogue"):
        load(tmp_path)
