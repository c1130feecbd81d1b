from __future__ import annotations

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from embedfit.data.identity import _AGREED, fingerprint, normalised
from embedfit.pairs import Pairs, normalise

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


def test_the_fingerprint_of_rows_follows_from_the_rows_alone() -> None:
    def pairs(**columns: list[object]) -> Pairs:
        return Pairs(kind="pairs", table=pl.DataFrame(columns))

    one = pairs(query=["a", "b"], positive=["c", "d"], negative_1=["e", None])
    again = Pairs(kind="pairs", table=pl.concat([one.table[:1], one.table[1:]]), source="elsewhere.csv")
    assert fingerprint(again) == fingerprint(one)
    others = [
        pairs(query=["b", "a"], positive=["d", "c"], negative_1=[None, "e"]),
        pairs(query=["a", "b"], positive=["c", "d"], negative_1=["e", "null"]),
        pairs(query=["a", "b"], positive=["c", "d"], negative_2=["e", None]),
        pairs(query=["a"], positive=["c"], negative_1=["e"]),
    ]
    assert len({fingerprint(made) for made in (one, *others)}) == 5
    table = pl.DataFrame({"query_id": ["1"], "query": ["q"], "document_id": ["x"], "relevance": [1.0]})
    corpora = [pl.DataFrame({"document_id": ["x"], "document": [text]}) for text in ("one", "two")]
    assert len({fingerprint(Pairs(kind="collection", table=table, corpus=c)) for c in corpora}) == 2
