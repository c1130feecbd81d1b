from __future__ import annotations

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from embedfit.data.identity import _AGREED, normalised
from embedfit.pairs import normalise

ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
USUAL = st.text(
    st.sampled_from("aZ 　\t\n!?？，。…“”'éÉßΣςİı。你好ｆＵ１～-—()（）\xa0\x1c\u200b\u0301か゛ﾞ가"), max_size=10
)


@given(st.lists(st.none() | ANY | USUAL, max_size=8))
@example(["...", " ?! ", "", "　", "ΑΣ", "Straße", "ﬁn", "Ⅷ", "\x1fa\x1f"])
def test_the_vectorised_identity_is_that_of_single_texts(texts):
    expected = [None if t is None else normalise(t) for t in texts]
    assert normalised(pl.Series("x", texts, dtype=pl.String)).to_list() == expected


def test_every_character_of_the_fast_way_has_the_same_identity():
    characters = pl.Series([chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000])
    characters = characters.filter(characters.str.contains(_AGREED))
    assert len(characters) > 30_000
    for pattern in ("{}", "{}a{}b{}"):
        texts = [pattern.replace("{}", c) for c in characters]
        assert normalised(pl.Series(texts)).to_list() == [normalise(t) for t in texts]
