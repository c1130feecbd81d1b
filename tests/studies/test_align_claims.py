"""Verdicts follow from rows: the same claim is reproduced in one world and refuted in another."""

from __future__ import annotations

import pytest
from benchmarks.ledger import Ledger
from studies.align_claims import judged
from studies.align_tables import TABLES
from studies.two_languages import lessons, sentences

from embedfit.pairs import normalise


def dimensions(power: float) -> Ledger:
    """A ledger in which steps grow with a power of the dimension, up to ceilings of their own."""
    ledger = Ledger(None, {})
    for size in (8, 64, 512):
        ceiling = 0.9 if size == 8 else 0.97
        steps = round(4 * (size / 8) ** power)
        curve = [0.0] * steps + [ceiling] * 10
        keys = {"table": "dimensions", "dimension": size, "seed": 0}
        ledger.row({**keys, "of": "free rows"}, lambda: {"to .99": 20})
        ledger.row({**keys, "of": "network", "rate": 0.01}, lambda curve=curve: {"curve": curve})
    return ledger


@pytest.mark.parametrize(("power", "word"), [(0.0, "refuted"), (0.5, "refined")])
def test_steps_are_counted_to_the_ceiling_of_each_dimension(power: float, word: str) -> None:
    ledger = dimensions(power)
    verdict, why = judged(ledger)["S0.8 difficulty grows exponentially with the dimension"]
    assert verdict == word
    assert "ceilings 0.900 and 0.970" in why
    assert "never" not in TABLES["dimensions"](ledger.of(table="dimensions"))


@pytest.mark.parametrize(("stuck", "word"), [(0.7, "reproduced"), (1.0, "refuted")])
def test_a_start_near_the_target_is_judged_by_where_it_ends(stuck: float, word: str) -> None:
    ledger = Ledger(None, {})
    for share, end, steps in ((0.0, 1.0, 20), (0.95, stuck, 2)):
        found = {"start": share, "end": end, "to .9": steps, "to .99": steps}
        ledger.row({"table": "starts", "share": share, "seed": 0}, lambda found=found: found)
    assert judged(ledger)["S0.11 a start too near the target is stuck"][0] == word


@pytest.mark.parametrize(("loss", "word"), [(0.2, "refined"), (0.0, "refuted")])
def test_sensitivity_to_outliers_is_told_of_the_distance_and_of_its_square(loss: float, word: str) -> None:
    ledger = Ledger(None, {})
    for name in ("mse", "mae", "cosine", "euclidean", "cosine+euclidean", "euclidean+margin", "margin"):
        for share in (0.0, 0.1):
            lost = loss if name == "mse" and share else 0.0
            found = {"cosine": 0.96 - lost, "relative_l2": 0.3, "norm_ratio": 1.0, "recall@1": 1.0, "steps": 20}
            keys = {"table": "losses", "objective": name, "outliers": share, "rate": 0.01, "seed": 0}
            ledger.row(keys, lambda found=found: found)
    verdicts = judged(ledger)
    assert verdicts["S0.21 the distance is sensitive to outliers"][0] == word
    assert verdicts["S0.24 the hybrid is fastest and highest"][0] == "refined"  # a tie is no victory


@pytest.mark.data
def test_no_sentence_of_a_test_row_is_learned_from(real_data: object) -> None:
    tested = {normalise(text) for pair in sentences(["test"])[0] for text in pair}
    assert not tested & {normalise(text) for pair in lessons() for text in pair}
    assert len(lessons()) > 10_000
