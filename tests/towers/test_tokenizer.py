from __future__ import annotations

import re
import time
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_towers import TEXTS
from tokenizers import Tokenizer

from embedfit.errors import ModelError
from embedfit.towers import tokenizer as subwords

CORPUS = (*TEXTS * 3, "国际转账要多久", "转账手续费是多少")
WORDS = st.text(alphabet="abcde 卡银行转 .,😀", max_size=40)


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return subwords.train(CORPUS, vocabulary=2000)


@pytest.fixture(scope="module")
def framed() -> Tokenizer:
    return subwords.train(CORPUS, vocabulary=2000, frame=True)


def tokens(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text).tokens


def test_frequent_words_of_both_languages_are_one_token(trained: Tokenizer) -> None:
    assert tokens(trained, "my card") == ["my", "card"]
    assert "转账" in tokens(trained, "我的转账")


def test_case_and_width_do_not_matter(trained: Tokenizer) -> None:
    assert tokens(trained, "MY ＣＡＲＤ") == tokens(trained, "my card")


def test_words_end_at_punctuation_digits_and_changes_of_script(trained: Tokenizer) -> None:
    assert tokens(trained, "card?card") == ["card", "?", "card"]
    assert tokens(trained, "card转账") == ["card", "转账"]
    assert tokens(trained, "card100")[0] == "card"


def test_a_token_of_an_unspaced_script_has_two_characters_at_most() -> None:
    tokenizer = subwords.train(["我的银行卡", "card holders"] * 50, vocabulary=200)
    assert max(len(token) for token in tokenizer.get_vocab() if "\u4e00" <= token[0] <= "\u9fff") == 2
    assert tokens(tokenizer, "card holders") == ["card", "holders"]
    assert sorted(tokenizer.get_vocab().values()) == list(range(tokenizer.get_vocab_size()))


def test_a_word_without_end_is_learned_from_in_pieces() -> None:
    random = Random(0)
    endless = "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=1_000_000))
    start = time.process_time()
    tokenizer = subwords.train([*TEXTS * 3, endless], vocabulary=2000)
    assert time.process_time() - start < 5  # 1 s; whole, it takes minutes
    assert tokens(tokenizer, "my card") == ["my", "card"]


def test_of_a_megabyte_in_one_cell_only_what_may_be_kept_is_tokenised(trained: Tokenizer) -> None:
    subwords.limit(trained, 512)
    try:
        for text in ("card " * 200_000, "转账" * 500_000, "xy" * 500_000):
            start = time.process_time()
            got = subwords.encode(trained, [text], special=False)
            assert time.process_time() - start < 0.5  # 0.05 s; the whole text takes 0.7 s
            assert got.ids.tolist() == trained.encode(text, add_special_tokens=False).ids
        assert subwords.count(trained, ["card " * 200_000], special=False) == [200_000]
    finally:
        trained.no_truncation()


def test_long_texts_with_bounds_are_learned_from_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["word " * 600, "转账手续费是多少，" * 300, "more.words-" * 300]
    learned = subwords.train(texts, vocabulary=300).to_str()
    monkeypatch.setattr("embedfit.towers.tokenizer._ENDLESS", re.compile("(?!)()"))
    assert subwords.train(texts, vocabulary=300).to_str() == learned


def test_scripts_share_the_vocabulary_by_how_much_text_they_have() -> None:
    random = Random(0)
    spaced = ["".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=3)) for _ in range(300)] * 4
    unspaced = ["".join(chr(0x4E00 + random.randrange(40)) for _ in range(3)) for _ in range(300)] * 4
    merged = [t for t in subwords.train(spaced + unspaced, vocabulary=271).get_vocab() if 1 < len(t) < 5]
    chinese = sum(t[0] >= "一" for t in merged)
    assert len(merged) == 271 - 5 - 26 - 40
    assert chinese == len(merged) // 2


def test_what_occurs_once_is_no_token_of_its_own(trained: Tokenizer) -> None:
    assert "xyzzy" not in subwords.train([*TEXTS, "xyzzy"], vocabulary=900).get_vocab()


def test_characters_never_seen_are_one_unknown_token(trained: Tokenizer) -> None:
    assert tokens(trained, "ᚠᚢᚦ") == ["[UNK]"]


def test_training_twice_gives_the_same_tokeniser_even_when_rare_characters_compete_for_room() -> None:
    texts = ["".join(chr(0x4E00 + i) for i in range(start, start + 5)) for start in range(0, 900, 5)]
    made = {subwords.train(texts, vocabulary=300).to_str() for _ in range(4)}
    assert len(made) == 1


def test_single_characters_take_at_most_half_of_the_vocabulary() -> None:
    texts = ["".join(chr(0x4E00 + i) for i in range(500)), "的了" * 9]
    vocabulary = subwords.train(texts, vocabulary=100).get_vocab()
    assert len(vocabulary) <= 100
    assert sum(len(token) == 1 for token in vocabulary) <= 50
    assert {"的", "了"} <= set(vocabulary)


def test_special_tokens_have_the_ids_that_towers_rely_on(trained: Tokenizer) -> None:
    assert [trained.token_to_id(name) for name in subwords.SPECIAL] == [0, 1, 2, 3, 4]


def test_a_frame_survives_the_cut(framed: Tokenizer) -> None:
    subwords.limit(framed, 5)
    ids = subwords.encode(framed, ["my card my card my card", "card"], special=True)
    assert ids.lengths.tolist() == [5, 3]
    assert ids.ids[[0, 4]].tolist() == [2, 3]
    assert subwords.read_limit(framed) == 5


def test_a_tokeniser_that_cuts_nowhere_has_no_limit(trained: Tokenizer) -> None:
    trained.no_truncation()
    assert subwords.read_limit(trained) == subwords.UNLIMITED


@settings(max_examples=60)
@given(texts=st.lists(WORDS, max_size=5), longest=st.integers(3, 9), special=st.booleans())
def test_counts_are_lengths_before_the_cut(framed: Tokenizer, texts: list[str], longest: int, special: bool) -> None:
    subwords.limit(framed, subwords.UNLIMITED)
    whole = subwords.encode(framed, texts, special=special).lengths.tolist()
    subwords.limit(framed, longest)
    assert subwords.count(framed, texts, special=special) == whole
    assert subwords.encode(framed, texts, special=special).lengths.tolist() == [min(n, longest) for n in whole]


@pytest.mark.parametrize("texts", [[], [""], [" ", "\n"]])
def test_texts_without_a_character_are_an_error(texts: list[str]) -> None:
    with pytest.raises(ModelError, match=rf"got {len(texts)} texts without a single character.*\nhint: look at"):
        subwords.train(texts, vocabulary=100)


def test_a_vocabulary_without_room_for_characters_is_an_error() -> None:
    with pytest.raises(ModelError, match="a vocabulary of 10 tokens is too small"):
        subwords.train(TEXTS, vocabulary=10)


def test_texts_are_tokenised_in_parts_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = subwords.train(TEXTS, vocabulary=200)
    whole = subwords.encode(tokenizer, [*TEXTS, "", *TEXTS], special=False)
    monkeypatch.setattr(subwords, "_AT_ONCE", 3)
    parts = subwords.encode(tokenizer, [*TEXTS, "", *TEXTS], special=False)
    assert torch.equal(whole.ids, parts.ids)
    assert torch.equal(whole.lengths, parts.lengths)
    assert len(subwords.encode(tokenizer, [], special=False)) == 0
