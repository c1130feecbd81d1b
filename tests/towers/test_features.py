from __future__ import annotations

from itertools import chain

import pytest

from embedfit.towers.features import Features, family


def features_of(text: str, features: Features | None = None) -> list[str]:
    features = features or Features()
    names: list[str] = []

    def number(new: list[str]) -> list[int]:
        names.extend(new)
        return list(range(len(names) - len(new), len(names)))

    order = list(chain.from_iterable(features.numbers(text, lambda w: number(features.of_word(w)), number)))
    return [names[i] for i in order]


def test_a_word_gives_itself_and_its_letter_n_grams_with_marked_ends() -> None:
    expected = ["<card>", "<ca", "car", "ard", "rd>", "<car", "card", "ard>", "<card", "card>"]
    assert features_of("Card") == expected


def test_a_short_word_is_not_counted_again_as_its_own_n_gram() -> None:
    assert features_of("a") == ["<a>"]
    assert features_of("an") == ["<an>", "<an", "an>"]


def test_neighbouring_words_make_a_pair_across_punctuation() -> None:
    assert [f for f in features_of("my card, please") if " " in f] == ["my card", "card please"]


def test_pairs_can_be_left_out() -> None:
    assert not [f for f in features_of("my card", Features(pairs=False)) if " " in f]


def test_scripts_without_spaces_give_character_n_grams_within_a_run() -> None:
    assert features_of("银行，卡") == ["银", "银行", "行", "卡"]


def test_a_change_of_script_ends_the_word_and_makes_no_pair() -> None:
    assert features_of("a卡b") == ["<a>", "卡", "<b>"]


@pytest.mark.parametrize(("text", "expected"), [("😀", ["<😀>"]), ("", []), (" ?!… ", []), ("ｃ", ["<c>"])])
def test_symbols_are_words_and_punctuation_is_nothing(text: str, expected: list[str]) -> None:
    assert features_of(text) == expected


@pytest.mark.parametrize(
    ("feature", "kind"),
    [("<card>", "word"), ("my card", "pair"), ("<ca", "letters"), ("ard", "letters"), ("银行", "unspaced")],
)
def test_each_feature_tells_its_family(feature: str, kind: str) -> None:
    assert family(feature) == kind
