"""The rows of a program: repeated ones, and ids in a vocabulary that is not the table's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from program_world import Program, builder
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from embedfit.doctor import select
from embedfit.doctor.check import Outcome
from embedfit.doctor.examine import examine
from embedfit.doctor.inputs import of_inputs, standardised
from embedfit.doctor.material import gather
from embedfit.probes.rows import table
from embedfit.run import Run

WORDS, TOPICS, ROWS = 900, 60, 640


def outcome(code: str, facts: dict[str, Any]) -> Outcome:
    [check] = select((code,))
    return examine(check, Run(facts=facts)).outcome


class Texts:
    """Texts about topics, read through word vectors that know the topics, with their own ids or those of a stranger."""

    def __init__(self, kind: str = "", seed: int = 0) -> None:
        g = torch.Generator().manual_seed(0)
        topic = torch.arange(WORDS) % TOPICS
        place = torch.randn(TOPICS, 16, generator=g)
        vectors = place[topic] + torch.randn(WORDS, 16, generator=g) + 0.6
        about = torch.randint(TOPICS, (ROWS,), generator=g)
        mixed = torch.rand(ROWS, 8, generator=g) < 0.3
        words = about[:, None] + TOPICS * torch.randint(WORDS // TOPICS, (ROWS, 8), generator=g)
        words = torch.where(mixed, torch.randint(WORDS, words.shape, generator=g), words)
        if kind == "names":  # no two words of a text have anything to do with each other
            words = torch.randint(WORDS, words.shape, generator=g)
        if kind == "foreign":
            words = torch.randperm(WORDS, generator=g)[words]
        torch.manual_seed(seed)
        self.model = nn.ModuleDict({"words": nn.Embedding(WORDS, 16)})
        if kind != "scratch":
            self.model["words"].weight.data.copy_(vectors)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.batches = list(zip(words[:, :4].split(32), words[:, 4:].split(32), strict=True))
        self.steps = 40

    def train_step(self, batch: Any) -> Any:
        query, document = (self.model["words"](side).mean(1) for side in batch)
        scores = normalize(query, dim=-1) @ normalize(document, dim=-1).T / 0.05
        return {"query": query, "document": document, "loss": cross_entropy(scores, torch.arange(len(query)))}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("", Outcome.CLEAR),
        ("foreign", Outcome.ISSUE),
        ("names", Outcome.CLEAR),
        ("scratch", Outcome.NOT_APPLICABLE),  # fresh vectors know no words
    ],
)
def test_ids_of_another_vocabulary_are_told_by_the_company_that_words_keep(kind: str, expected: Outcome) -> None:
    program = Texts(kind)
    assert outcome("DAT012", of_inputs(program, gather(program))) is expected


def test_a_loop_that_sees_the_first_batches_only_is_told_by_its_rows() -> None:
    program = builder()()
    whole = of_inputs(program, gather(program))
    assert outcome("DAT011", {**whole, "rows.seen": gather(program).pool.rows}) is Outcome.CLEAR  # type: ignore[union-attr]
    program.batches = list(program.batches)[:2] * 12  # type: ignore[assignment]
    few = gather(program)
    facts = of_inputs(program, few) | {"rows.seen": few.pool.rows, "overfit.train": 1.0, "experiment.author": 0.2}  # type: ignore[union-attr]
    assert outcome("DAT011", facts) is Outcome.ISSUE


def test_rows_are_standardised_by_the_columns_of_others() -> None:
    g = torch.Generator().manual_seed(0)
    rows = table({"x": 5 + 3 * torch.randn(50, 6, generator=g), "id": torch.arange(50)}, 50)
    even = standardised(rows.take(range(10)), ["x", "id"], rows)
    whole = torch.as_tensor(rows.columns["x"])
    torch.testing.assert_close(even.columns["x"], (whole[:10] - whole.mean(0)) / whole.std(0))
    assert torch.equal(torch.as_tensor(even.columns["id"]), torch.arange(10))


def test_the_loudest_column_is_a_share_of_the_squared_length() -> None:
    program = Program()
    x = torch.ones(32, 24)
    x[:, 0] = 5.0
    program.batches = [(x + 1e-3 * torch.randn(32, 24), x + 1e-3 * torch.randn(32, 24)) for _ in range(6)]  # type: ignore[assignment]
    assert of_inputs(program, gather(program))["inputs.loudest"] == pytest.approx(25 / 48, rel=0.01)
