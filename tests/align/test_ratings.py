"""A teacher that gives scores: learned from where it deserves it, refused where it does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from spaces import noise, unit

from embedfit.align import Descent, Ratings, check_ratings, distil_scores
from embedfit.align.ratings import sheet_of
from embedfit.errors import DataError

WORDS = ["card", "loan", "transfer", "pin", "rate", "fee", "top", "up", "cash", "refund", "abroad", "lost"]
TABLE = unit(noise(len(WORDS), 16, 0))
QUICK = Descent(steps=200, batch_size=16, learning_rate=1e-2, evaluate_every=50)


def rated(queries: int = 150, candidates: int = 8, seed: int = 0) -> Ratings:
    """Texts of a few words; a score is the cosine of their sums, in a unit of its own."""
    rng = np.random.default_rng(seed)
    rows: dict[tuple[str, str], float] = {}
    for _ in range(queries):
        texts = [rng.choice(len(WORDS), rng.integers(2, 5), replace=False) for _ in range(candidates + 1)]
        sums = unit(np.stack([TABLE[text].sum(0) for text in texts]))
        words = [" ".join(WORDS[j] for j in text) for text in texts]
        for document, row in zip(words[1:], sums[1:], strict=True):
            rows[words[0], document] = 7 * float(sums[0] @ row)
    return Ratings(queries=[q for q, _ in rows], documents=[d for _, d in rows], scores=np.array(list(rows.values())))


def test_a_student_orders_candidates_of_new_queries_as_its_teacher_does() -> None:
    made = distil_scores(rated(), plan=QUICK)
    assert made.agreement.low > 0.5
    assert made.first > 0.4
    assert made.temperatures[made.temperature] == max(made.temperatures.values())
    assert made.findings == ()
    assert made.to_dict()["queries"] == made.queries == len(sheet_of(rated()).query) // 10


def test_only_differences_within_a_query_count() -> None:
    ratings = rated(60)
    shift = {query: 100.0 * i for i, query in enumerate(dict.fromkeys(ratings.queries))}
    moved = replace(
        ratings, scores=np.array([3 * s + shift[q] for q, s in zip(ratings.queries, ratings.scores, strict=True)])
    )
    plan = replace(QUICK, steps=20)
    one, other = (distil_scores(r, plan=plan).agreement.value for r in (ratings, moved))
    assert one == pytest.approx(other, abs=1e-3)


def test_shuffled_scores_are_refused() -> None:
    ratings = rated(400)
    assert check_ratings(ratings) == []
    shuffled = replace(ratings, scores=np.random.default_rng(1).permutation(ratings.scores))
    with pytest.raises(DataError, match="nothing to do with the words"):
        distil_scores(shuffled, plan=QUICK)
    few = [i for i, query in enumerate(ratings.queries) if query in set(ratings.queries[:200])]
    part = Ratings(
        queries=[ratings.queries[i] for i in few],
        documents=[ratings.documents[i] for i in few],
        scores=np.random.default_rng(2).permutation(ratings.scores[few]),
    )
    assert [f.severity for f in check_ratings(part)] == ["watch"]


def test_a_teacher_that_tf_idf_beats_on_known_answers_is_unreliable() -> None:
    ratings = rated()
    same = np.array(
        [bool(set(q.split()) & set(d.split())) for q, d in zip(ratings.queries, ratings.documents, strict=True)]
    )
    best = np.array(
        [len(set(q.split()) & set(d.split())) >= 2 for q, d in zip(ratings.queries, ratings.documents, strict=True)]
    )
    assert same.any()
    blurred = replace(ratings, relevant=best, scores=ratings.scores + 4 * noise(len(best), 1, 3)[:, 0])
    found = check_ratings(blurred)
    assert any(f.name == "unreliable_teacher" and "TF-IDF" in f.sentence and f.severity == "issue" for f in found)
    exact = replace(ratings, relevant=best, scores=ratings.scores + 5 * best)
    assert check_ratings(exact) == []


def test_scores_that_contradict_each_other_are_noisy() -> None:
    ratings = rated()
    twice = Ratings(
        queries=[*ratings.queries, *ratings.queries[:50]],
        documents=[*ratings.documents, *ratings.documents[:50]],
        scores=np.concatenate([ratings.scores, ratings.scores[:50]]),
    )
    assert check_ratings(twice) == []
    loose = replace(twice, scores=twice.scores + np.r_[np.zeros(len(ratings.scores)), 5 * noise(50, 1, 4)[:, 0]])
    assert [f.name for f in check_ratings(loose)] == ["noisy_teacher"]


def test_scores_without_an_order_are_refused_in_words() -> None:
    ratings = rated(30)
    with pytest.raises(DataError, match=r"0 of .* queries have two documents of different scores"):
        check_ratings(replace(ratings, scores=np.ones(len(ratings.scores))))
    with pytest.raises(DataError, match="1 of them not finite"):
        check_ratings(replace(ratings, scores=np.r_[np.nan, ratings.scores[1:]]))
