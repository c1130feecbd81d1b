"""What a trained program shows of its documents and of its own rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from program_world import Program, builder
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from embedfit.doctor import select
from embedfit.doctor.aftermath import aftermath
from embedfit.doctor.arms import updater
from embedfit.doctor.check import Outcome
from embedfit.doctor.examine import examine
from embedfit.doctor.lab import CONTROL
from embedfit.doctor.material import gather
from embedfit.run import Run

THINGS, SIZE = 120, 64


class Shop:
    """Users pick things by taste and fame; the loss corrects for fame, or corrects the wrong way."""

    def __init__(self, seed: int = 0, sign: float = 1.0) -> None:
        torch.manual_seed(seed)
        g = torch.Generator().manual_seed(3)
        place, taste = torch.randn(THINGS, 6, generator=g), torch.randn(4096, 6, generator=g)
        self.fame = torch.arange(1, THINGS + 1).float().pow(-0.8)
        own = torch.multinomial((taste @ place.T / 1.2 + self.fame.log()).softmax(-1), 1, generator=g)[:, 0]
        self.model = nn.ModuleDict({"user": nn.Linear(6, 16), "thing": nn.Embedding(THINGS, 16)})
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)
        self.batches = list(zip(taste.split(SIZE), own.split(SIZE), strict=True))
        self.steps, self.sign = 200, sign

    def train_step(self, batch: Any) -> Any:
        query, document = self.model["user"](batch[0]), self.model["thing"](batch[1])
        scores = normalize(query, dim=-1) @ normalize(document, dim=-1).T / 0.2
        scores = scores - self.sign * (self.fame / self.fame.sum()).log()[batch[1]]
        same = (batch[1][:, None] == batch[1]) & ~torch.eye(len(query), dtype=torch.bool)
        return {"query": query, "document": document, "loss": cross_entropy(scores.masked_fill(same, -1e4),
                                                                          torch.arange(len(query)))}  # fmt: skip


def trained(program: Any, steps: int) -> Any:
    material = gather(program)
    update = updater(program, CONTROL, steps)
    for k in range(steps):
        update(program.train_step(material.batches[k % len(material.batches)])["loss"])
    return aftermath(program, material, steps * material.size)


def outcome(code: str, facts: dict[str, Any]) -> Outcome:
    [check] = select((code,))
    return examine(check, Run(facts=facts)).outcome


@pytest.mark.parametrize(("sign", "expected"), [(1.0, Outcome.CLEAR), (-1.0, Outcome.ISSUE)])
def test_a_correction_for_popularity_with_the_wrong_sign_is_seen(sign: float, expected: Outcome) -> None:
    facts = trained(Shop(sign=sign), 200)
    assert outcome("NEG007", facts) is expected, facts
    assert (facts["popularity.correlation"] < 0) is (sign < 0)


def test_where_every_document_occurs_once_nothing_is_said_of_popularity() -> None:
    facts = trained(builder()(), 24)
    assert not {name for name in facts if name.startswith("popularity")}
    assert outcome("GEO004", facts) is Outcome.CLEAR


def test_after_a_few_steps_not_all_documents_are_embedded() -> None:
    facts = trained(Shop(), 2)
    assert "popularity.z" not in facts
    assert "overfit.train" in facts


def test_rows_that_were_trained_on_are_known_best() -> None:
    facts = trained(Program(), 60)
    assert 0.2 < facts["overfit.train"] <= 1.0
