from __future__ import annotations

import pytest
from benchmarks.ring import Cluster, all_gather, all_reduce, even, reduce_scatter, rotation
from benchmarks.scaling import PAPER, SCHEMES, sections, si
from hypothesis import given, settings
from hypothesis import strategies as st


def cluster(ranks: int) -> Cluster:
    return Cluster(ranks=ranks, per_machine=2, inside=100.0, between=10.0, latency=0.5)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=9))
def test_every_rank_sends_and_receives_what_the_closed_formulas_say(blocks: list[int]):
    ranks, total = len(blocks), sum(blocks)
    gathered, scattered = all_gather(cluster(ranks), blocks), reduce_scatter(cluster(ranks), blocks)
    assert list(gathered.received) == [total - blocks[rank] for rank in range(ranks)]
    assert list(gathered.sent) == [total - blocks[(rank + 1) % ranks] for rank in range(ranks)]
    assert list(scattered.sent) == [total - blocks[rank] for rank in range(ranks)]
    assert rotation(cluster(ranks), blocks).sent == (total,) * ranks
    assert sum(all_reduce(cluster(ranks), total).sent) == 2 * (ranks - 1) * total


def test_a_round_takes_as_long_as_its_slowest_link():
    found = all_gather(cluster(4), [20, 20, 20, 20])
    assert found.rounds == 3
    assert found.seconds == pytest.approx(3 * (0.5 + 20 / 10))
    assert all_gather(cluster(2), [20, 20]).seconds == pytest.approx(0.5 + 20 / 100)


def test_parts_are_even():
    assert even(11, 4) == [3, 3, 3, 2]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("pairs", [4_096, 32_768])
def test_64_ranks_walked_send_what_the_formula_of_a_scheme_says(scheme, pairs: int):
    walked = scheme.walk(PAPER.cluster, pairs, 768)
    assert set(walked.sent) == set(walked.received) == {round(scheme.formula(pairs, 768, 64))}


def test_tables_are_whole_for_any_constants():
    names = (
        "flop, search for the nearest list", "vectors added, IVF-PQ", "codes scanned, IVF-PQ",
        "rows read from Parquet", "texts tokenised", "tokens embedded, MiniLM-L6",
    )  # fmt: skip
    for found in sections(dict.fromkeys(names, 1e6)).values():
        assert len({line.count("|") for line in found.splitlines()}) == 1
    assert si(2.5e9, "B") == "2.5 GB"
