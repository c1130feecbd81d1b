from __future__ import annotations

import math
import time
from collections import Counter

import numpy as np
import pytest
import torch
from small_towers import TEXTS, Make

from embedfit.errors import ModelError
from embedfit.towers import Ngram, TwoTower, build
from embedfit.towers.features import Features
from embedfit.towers.ngram import CHARACTERS


def ngram(make: Make, **sizes: object) -> Ngram:
    tower = make("ngram", **sizes)
    assert isinstance(tower, Ngram)
    return tower.eval()


def names(tower: Ngram, text: str) -> list[str]:
    """Features of a text that have a row of their own."""
    return [tower.vocabulary[i] for i in tower.tokenize([text]).ids if i < len(tower.vocabulary)]


def test_of_few_texts_every_feature_has_a_row_of_its_own(make: Make) -> None:
    assert "<swallowed>" in ngram(make).vocabulary


def test_of_many_texts_features_that_two_share_have_a_row_of_their_own(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedfit.towers.ngram.FEW_TEXTS", 0)
    tower = ngram(make)
    assert {"<card>", "my card", "<ca", "银行"} <= set(tower.vocabulary)
    assert "<swallowed>" not in tower.vocabulary
    assert len(set(tower.vocabulary)) == len(tower.vocabulary)


def test_rare_and_unseen_features_share_hashed_rows(make: Make) -> None:
    tower = ngram(make)
    rows = tower.tokenize(["xylophone"]).ids
    hashed = rows[rows >= len(tower.vocabulary)]
    assert len(hashed)
    assert hashed.max() < len(tower.tables[0])
    assert torch.equal(rows, tower.tokenize(["xylophone"]).ids)


def test_each_feature_counts_once_in_reading_order(make: Make) -> None:
    words = [name for name in names(ngram(make), "card my card") if name in ("<card>", "<my>")]
    assert words == ["<card>", "<my>"]


def test_a_small_vocabulary_keeps_the_frequent_features(make: Make) -> None:
    whole, small = ngram(make), ngram(make, vocabulary=10)
    assert small.vocabulary == whole.vocabulary[:10]


def test_untrained_its_cosines_are_those_of_tf_idf_over_words_and_spelling(make: Make) -> None:
    texts = TEXTS[:12]
    tower = ngram(make, dimension=8192, vocabulary=100_000)
    features, documents = Features(shortest=2), Counter[str]()
    sets: list[dict[bool, set[str]]] = []
    for text in TEXTS:
        spelling, whole = set[str](), set[str]()

        def of_word(piece: str, spelling: set[str] = spelling, whole: set[str] = whole) -> list[int]:
            first, *rest = features.of_word(piece)
            whole.add(first)
            spelling.update(rest)
            return []

        def other(found: list[str], spelling: set[str] = spelling, whole: set[str] = whole) -> list[int]:
            (whole if " " in found[0] else spelling).update(found)
            return []

        list(features.numbers(text, of_word, other))
        sets.append({False: whole, True: spelling})
        documents.update(whole | spelling)

    def cosine(a: dict[bool, set[str]], b: dict[bool, set[str]]) -> float:
        def dot(x: set[str], y: set[str]) -> float:
            return sum((1 + math.log((1 + len(TEXTS)) / (1 + documents[f]))) ** 2 for f in x & y)

        return sum(
            0.5 * dot(a[kind], b[kind]) / math.sqrt(dot(a[kind], a[kind]) * dot(b[kind], b[kind]))
            for kind in (False, True)
            if a[kind] and b[kind]
        )

    ours = TwoTower(tower).encode(texts)
    pairs = [(i, j) for i in range(12) for j in range(i)]
    expected = [cosine(sets[i], sets[j]) for i, j in pairs]
    np.testing.assert_allclose([ours[i] @ ours[j] for i, j in pairs], expected, atol=5 / math.sqrt(8192))
    assert max(expected) > 0.1


def test_misspelt_words_stay_near(make: Make) -> None:
    a = TwoTower(ngram(make, dimension=512)).encode(["transfer declined", "transferr declned", "exchange rate"])
    assert a[0] @ a[1] > a[0] @ a[2] + 0.2


def test_every_part_has_the_same_length(make: Make) -> None:
    tower = ngram(make, layers=4, dimension=32)
    parts = tower(tower.tokenize(TEXTS)).unflatten(1, (4, 8)).norm(dim=2)
    torch.testing.assert_close(parts, torch.full_like(parts, 0.5))


def test_features_are_dropped_in_training_only_and_differently_in_each_part(make: Make) -> None:
    tower = ngram(make, layers=2, dropout=0.5)
    tokens = tower.tokenize(TEXTS)
    torch.manual_seed(0)
    clean, dropped = tower(tokens), tower.train()(tokens)
    change = (clean - dropped).unflatten(1, (2, -1)).abs().amax(2)
    assert bool((change > 0).all())
    assert torch.equal(tower.eval()(tokens), clean)


def test_an_empty_text_is_the_zero_vector(make: Make) -> None:
    assert not TwoTower(ngram(make)).encode(["", " ?! "]).any()


def test_the_cut_leaves_the_first_features_and_is_counted(make: Make) -> None:
    whole, cut = ngram(make), ngram(make, max_tokens=4)
    assert torch.equal(cut.tokenize(TEXTS[:1]).ids, whole.tokenize(TEXTS[:1]).ids[:4])
    assert cut.token_counts(TEXTS) == whole.tokenize(TEXTS).lengths.tolist()


def test_texts_without_a_word_are_an_error() -> None:
    with pytest.raises(ModelError, match="got 2 texts without a single word"):
        build("ngram", ["", "?!"])


def test_a_dimension_that_cannot_be_divided_is_an_error_with_one_that_can() -> None:
    with pytest.raises(
        ModelError, match=r"a dimension of 30 cannot be divided into 4 equal parts\nhint: for example 28"
    ):
        build("ngram", TEXTS, dimension=30)


def test_fifteen_thousand_texts_are_tokenised_in_seconds(make: Make) -> None:
    tower = ngram(make)
    texts = [f"{TEXTS[i % len(TEXTS)]} {i}" for i in range(15_000)]
    start = time.process_time()
    tower.tokenize(texts)
    assert time.process_time() - start < 10  # about 2 s; a quadratic slip would take minutes


HUGE = 1_000_000
SHAPES = {
    "words": "".join(f"word{i} " for i in range(HUGE // 8))[:HUGE],
    "one word": "ab" * (HUGE // 2),
    "Chinese": "".join(chr(0x4E00 + i * 7919 % 3_000) for i in range(HUGE)),
    "symbols": "\U0001f600 " * (HUGE // 2),
    "nothing": " ?" * (HUGE // 2),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_megabyte_in_one_cell_is_read_to_a_bound_in_a_moment_and_counts_as_cut(make: Make, shape: str) -> None:
    tower, text = ngram(make), SHAPES[shape]
    start = time.process_time()
    counts, ids = tower.token_counts([text, TEXTS[0]]), tower.tokenize([text]).ids
    assert time.process_time() - start < 4  # 0.3 s, types checked 1.5 s; the whole text takes ten times as long
    assert torch.equal(ids, tower.tokenize([text[:CHARACTERS]]).ids)
    assert counts[0] > tower.max_tokens >= counts[1]


def test_features_are_learned_from_what_is_read() -> None:
    text = SHAPES["one word"]
    whole, cut = (build("ngram", [*TEXTS, one]) for one in (text, text[:CHARACTERS]))
    assert isinstance(whole, Ngram)
    assert isinstance(cut, Ngram)
    assert whole.vocabulary == cut.vocabulary


def test_texts_within_the_bound_are_read_to_their_end(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"word{i % 90} " for i in range(CHARACTERS))[: CHARACTERS - 7] + " theend"
    bound = ngram(make)
    ids, counts = bound.tokenize([text]).ids, bound.token_counts([text])
    monkeypatch.setattr("embedfit.towers.ngram.CHARACTERS", 10**9)
    assert torch.equal(ids, bound.tokenize([text]).ids)
    assert counts == bound.token_counts([text])
    assert torch.isin(bound.tokenize(["theend"]).ids[-1], ids)


def test_who_keeps_more_features_reads_more_characters(make: Make) -> None:
    text = "word " * (CHARACTERS // 5) + "theend"
    short, long = ngram(make), ngram(make, max_tokens=CHARACTERS)
    end = short.tokenize(["theend"]).ids
    assert not torch.isin(end, short.tokenize([text]).ids).all()
    assert torch.isin(end, long.tokenize([text]).ids).all()
    assert long.token_counts([text]) == long.tokenize([text]).lengths.tolist()
