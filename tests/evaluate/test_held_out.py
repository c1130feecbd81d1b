from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from worlds import classes, collection, graded, lookup, oracle, pairs, random_encoder

from embedfit.errors import DataError, ModelError
from embedfit.evaluate import compare, evaluate, evaluate_bare, main_metric
from embedfit.evaluate.scope import out_of_scope


def faq(questions: int = 40, known_each: int = 3, asked_each: int = 2):
    """Phrasings share their number with their standard question, and no word."""

    def rows(start, each):
        return [(f"ask{v} #{q}", f"standard #{q}") for q in range(questions) for v in range(start, start + each)]

    return rows(known_each, asked_each), rows(0, known_each)


def meaning(text: str) -> str:
    return text.split("#")[1]


@pytest.mark.parametrize("build", [pairs, classes])
@pytest.mark.parametrize("keys", ["documents", "phrasings"])
def test_an_oracle_gets_everything_and_a_random_encoder_gets_chance(build, keys):
    held_out, known = (build(*rows) for rows in faq())
    metric = main_metric(held_out.kind)
    right = evaluate(oracle(meaning), oracle(meaning), held_out, known=known, keys=keys)
    assert right.value == right.values["mrr@10"] == right.values["ndcg@10"] == 1.0
    assert right.samples["worst"] == []
    blind = evaluate(random_encoder(), random_encoder(), held_out, known=known, keys=keys)
    assert blind.values[f"{metric}/low"] <= blind.values[f"chance/{metric}"] <= blind.values[f"{metric}/high"]
    assert "no better than chance" in blind.verdict
    assert compare(right, blind).difference.low > 0


def test_known_phrasings_go_through_the_query_tower_and_documents_through_the_other():
    held_out, known = (pairs(*rows) for rows in faq(5))
    seen: dict[str, set[str]] = {"query": set(), "document": set()}

    def tower(side):
        def encode(texts):
            seen[side].update(texts)
            assert len(set(texts)) == len(texts)
            return oracle(meaning)(texts)

        return encode

    evaluate_bare(tower("query"), tower("document"), held_out, known=known, keys="phrasings")
    assert all(text.startswith("ask") for text in seen["query"])
    assert all(text.startswith("standard") for text in seen["document"])
    assert any(text.startswith("ask0") for text in seen["query"])


def test_a_collection_is_measured_by_its_judgements():
    judged = [("1", "q", "d1", 3.0), ("1", "q", "d2", 1.0), ("2", "r", "d3", 1.0), ("3", "s", "d3", 0.0)]
    corpus = {f"d{i}": f"d{i}" for i in range(1, 31)}
    at = {f"d{i}": [math.cos(i / 10), math.sin(i / 10)] for i in range(1, 31)}
    # q points at d2, so d2 is first and d1, d3 follow; r points between d30 and d29
    vectors = at | {"q": [math.cos(0.199), math.sin(0.199)], "r": [math.cos(3), math.sin(3)]}
    got = evaluate(lookup(vectors), lookup(vectors), collection(judged, corpus))
    assert got.values["queries"] == 2
    assert got.values["queries_without_relevant"] == 1
    assert got.values["recall@1"] == pytest.approx((1 / 2 + 0) / 2)
    assert got.values["recall@5"] == pytest.approx((1 + 0) / 2)
    assert got.values["mrr@10"] == pytest.approx(1 / 2)
    assert got.values["ndcg@10"] == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)) / 2)
    assert "recall@50" not in got.values
    assert [w["rank"] for w in got.samples["worst"]] == [28]
    assert "1 queries have no relevant document" in got.verdict


def test_equal_documents_are_ties_and_ties_are_worst():
    corpus = {f"d{i}": "same" for i in range(20)}
    got = evaluate(random_encoder(), random_encoder(), collection([("1", "q", "d3", 1.0)], corpus))
    assert got.values["recall@10"] == 0
    assert got.samples["worst"][0]["rank"] == 20


def test_one_candidate_and_few_queries_are_said_to_prove_nothing():
    got = evaluate(random_encoder(), random_encoder(), pairs(("q", "a"), ("r", "a")))
    assert got.value == 1.0
    assert got.values["chance/recall@10"] == 1.0
    assert "too few" in got.verdict
    assert "chance" in got.verdict


def test_a_class_nobody_knows_counts_as_missed():
    got = evaluate(
        oracle(meaning),
        oracle(meaning),
        classes(("x #1", "1"), ("y #9", "9")),
        known=classes(("a #1", "1"), ("b #2", "2")),
    )
    assert got.value == 0.5
    assert got.values["queries_without_candidate"] == 1
    assert got.samples["worst"][0] == {
        "query": "y #9",
        "expected": None,
        "got": got.samples["worst"][0]["got"],
        "score_expected": None,
        "score_got": got.samples["worst"][0]["score_got"],
        "rank": None,
    }


def test_graded_pairs_follow_their_grade():
    angles = np.linspace(0, 3, 30)
    rows = [(f"a{i}", f"b{i}", float(30 - i)) for i in range(30)]
    vectors = {f"a{i}": [1.0, 0.0] for i in range(30)} | {
        f"b{i}": [math.cos(angles[i]), math.sin(angles[i])] for i in range(30)
    }
    got = evaluate(lookup(vectors), lookup(vectors), graded(*rows))
    assert got.metric == "spearman"
    assert got.value == pytest.approx(1)
    assert got.values["pearson"] == pytest.approx(np.corrcoef(np.cos(angles), angles)[0, 1] * -1, abs=1e-6)
    assert len(got.samples["similarity"]["positive"]) == 15
    blind = evaluate(random_encoder(), random_encoder(), graded(*rows))
    assert blind.values["spearman/low"] < 0 < blind.values["spearman/high"]
    assert compare(got, blind).difference.low > 0
    assert compare(blind, got).difference.high < 0


def test_words_that_suffice_are_said_to_suffice():
    held_out = pairs(*[(f"how does w{i} work", f"about w{i}") for i in range(60)])
    got = evaluate(random_encoder(), random_encoder(), held_out)
    assert got.values["lexical/recall@10"] > 0.9
    assert got.values["fused/recall@10"] > 0.9
    assert "TF-IDF without any training does better" in got.verdict
    assert "pretrained encoder" in got.verdict


def test_the_samples_are_what_the_report_draws():
    held_out, known = (classes(*rows) for rows in faq())
    got = evaluate(random_encoder(), random_encoder(), held_out, known=known)
    assert set(got.samples) == {
        "worst",
        "similarity",
        "recall_curve",
        "coverage_curve",
        "singular_values",
        "isotropic_singular_values",
        "map",
    }
    assert set(got.samples["worst"][0]) == {"query", "expected", "got", "score_expected", "score_got", "rank"}
    ranks = [w["rank"] for w in got.samples["worst"]]
    assert ranks == sorted(ranks, reverse=True)
    assert set(got.samples["map"][0]) == {"x", "y", "text", "label"}
    values = got.samples["singular_values"]
    assert values == sorted(values, reverse=True)
    curve = got.samples["recall_curve"]
    assert len(curve["k"]) == len(curve["model"]) == len(curve["lexical"])
    assert curve["model"] == sorted(curve["model"])
    similarity = got.samples["similarity"]
    assert abs(np.mean(similarity["positive"]) - np.mean(similarity["negative"])) < 0.05


def test_the_same_seed_gives_the_same_evaluation_and_blocks_of_detail_can_be_left_out():
    held_out, known = (pairs(*rows) for rows in faq(20))
    first, again = (evaluate(random_encoder(), random_encoder(), held_out, known=known, seed=3) for _ in range(2))
    assert {k: v for k, v in first.values.items() if k != "seconds"} == {
        k: v for k, v in again.values.items() if k != "seconds"
    }
    assert first.samples == again.samples
    bare = evaluate_bare(random_encoder(), random_encoder(), held_out, known=known, seed=3)
    assert bare.value == first.value
    assert not bare.samples
    assert not any(name.startswith(("lexical", "fused")) for name in bare.values)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda x: x * np.nan, "not finite"),
        (lambda x: x * 3, "unit rows"),
        (lambda x: x[:-1], "texts went in"),
        (lambda x: x[0], "texts went in"),
    ],
)
def test_embeddings_that_are_none_are_an_error(broken, says):
    with pytest.raises(ModelError, match=says):
        evaluate(lambda texts: broken(random_encoder()(texts)), random_encoder(), pairs(("q", "a"), ("r", "b")))
    with pytest.raises(ModelError, match=says):
        evaluate(
            random_encoder(), lambda texts: broken(random_encoder()(texts)), graded(("q", "a", 1.0), ("r", "b", 2.0))
        )


def test_towers_of_different_width_are_an_error():
    with pytest.raises(ModelError, match="64 dimensions"):
        evaluate(random_encoder(64), random_encoder(32), pairs(("q", "a")))


def test_empty_texts_match_nothing_and_are_no_error():
    def encode(texts):
        x = random_encoder()(texts)
        x[[not t for t in texts]] = 0
        return x

    assert evaluate(encode, encode, pairs(("", "a"), ("q", "b"))).values["recall@1"] <= 0.5


def test_queries_out_of_scope_are_refused_by_a_threshold_chosen_on_dev():
    asked, known = faq(20)
    outside = [(f"other{i} #x{i}", "oos") for i in range(20)]
    rows = [*asked, *outside]
    got = out_of_scope(
        oracle(meaning), oracle(meaning), classes(*rows[::2]), classes(*rows[1::2]), known=classes(*known)
    )
    assert got["in_scope_accuracy"] == got["oos_recall"] == got["accuracy"] == 1.0
    assert 0 < got["lexical/accuracy"] <= 1
    blind = random_encoder()
    held_out = classes(*rows[::2]), classes(*rows[1::2])
    assert out_of_scope(blind, blind, *held_out, known=classes(*known))["accuracy"] < 0.7
    with pytest.raises(DataError, match="kind"):
        out_of_scope(oracle(meaning), oracle(meaning), pairs(*rows), classes(*rows), known=classes(*known))


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, embedfit.evaluate; print([m for m in ('faiss', 'sklearn', 'scipy') if m in sys.modules])"
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.strip() == "[]"
