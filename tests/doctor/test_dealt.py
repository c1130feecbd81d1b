"""Programs on bare ids: the reference gets all that the author's loop gets, and nothing is claimed without need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from program_cases import WELL
from torch import nn
from torch.nn.functional import cross_entropy

from embedfit.doctor import Outcome
from embedfit.doctor.arms import Arm, epoch
from embedfit.doctor.checks.documents import UnknownPopularity
from embedfit.doctor.checks.pairing import UnrelatedPairs
from embedfit.doctor.checks.update import ForgottenParameters
from embedfit.doctor.clock import Stopwatch
from embedfit.doctor.dealt import dealt_out
from embedfit.doctor.examine import examine
from embedfit.doctor.gauge import Gauge
from embedfit.doctor.investigation import settled
from embedfit.doctor.lab import CONTROL, Lab
from embedfit.doctor.look import of_rows
from embedfit.doctor.material import gather
from embedfit.doctor.reference import reference_loss
from embedfit.run import Run

USERS, ITEMS, SIZE, RIVALS = 300, 60, 128, 40


class Clicks:
    """Users and items of one of ten tastes, and rivals that are drawn once for a whole batch."""

    steps = 150

    def __init__(self, seed: int = 0, rows: int = 3000, related: bool = True) -> None:
        torch.manual_seed(seed)
        g = torch.Generator().manual_seed(1)
        self.user = torch.randint(USERS, (rows,), generator=g)
        taste = self.user % 10 if related else torch.randint(10, (rows,), generator=g)
        fame = torch.randint(3, (rows,), generator=g).minimum(torch.randint(6, (rows,), generator=g))
        self.item = taste + 10 * fame
        self.g = torch.Generator().manual_seed(seed)
        self.model = nn.ModuleDict({"user": nn.Embedding(USERS, 16), "item": nn.Embedding(ITEMS, 16)})
        for tower in self.model.values():
            nn.init.normal_(tower.weight, std=0.3)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=2e-2)
        self.batches = self

    def __iter__(self) -> Iterator[Any]:
        for rows in torch.randperm(len(self.user), generator=self.g).split(SIZE)[:-1]:
            yield {"user": self.user[rows], "item": self.item[rows],
                   "rivals": torch.randint(ITEMS, (RIVALS,), generator=self.g)}  # fmt: skip

    def train_step(self, batch: Any) -> Mapping[str, torch.Tensor]:
        query = self.model["user"](batch["user"])
        item, rivals = self.model["item"](batch["item"]), self.model["item"](batch["rivals"])
        logits = torch.cat([(query * item).sum(1, keepdim=True), query @ rivals.T], 1)
        loss = cross_entropy(logits, torch.zeros(len(query), dtype=torch.long))
        return {"query": query, "document": torch.cat([item, rivals]), "loss": loss}

    @torch.no_grad()
    def evaluate(self) -> float:
        scores = self.model["user"].weight @ self.model["item"].weight.T
        return float((scores.argmax(1) % 10 == torch.arange(USERS) % 10).float().mean())


def opened(**options: Any) -> Lab:
    def build(seed: int = 0) -> Any:
        return Clicks(seed, **options)

    material = gather(build())
    return Lab(build, material, Gauge(material=material, has_metric=True), 150, 150, Stopwatch(), 60.0)


def test_all_rows_of_a_loop_over_ids_reach_the_reference():
    material = gather(Clicks(rows=12_000))
    assert material.pool is not None
    assert material.pool.rows > 9000
    assert of_rows(material)["rows.bare"]


def test_what_is_drawn_for_a_whole_batch_is_not_the_same_in_every_batch_of_the_reference():
    program = Clicks()
    given = list(epoch(program, Arm(), gather(program), torch.Generator().manual_seed(0)))
    assert len({tuple(batch["rivals"].tolist()) for batch in given}) > len(given) / 2


def test_a_rival_that_is_the_query_s_own_document_is_no_negative_of_the_reference():
    torch.manual_seed(0)
    query, document = torch.randn(4, 8), torch.randn(4, 8)
    same = (torch.arange(4), torch.arange(4))
    alone = reference_loss(query[:1], document[:1], (same[0][:1], same[1][:1]))
    assert torch.allclose(reference_loss(query[:1], document[[0, 0, 0]], (same[0][:1], same[1][:1])), alone)
    assert reference_loss(query, document[[0, 1, 2, 3, 0]], same) > reference_loss(query, document, same)


@pytest.mark.parametrize("related", [True, False])
def test_a_metric_that_rises_is_compared_with_that_on_pairs_dealt_anew(related: bool):
    lab = opened(related=related)
    control = lab.run(CONTROL)
    facts = {"experiment.probe": 0.02, "experiment.chance": 0.02, "experiment.start": 0.1,
             "experiment.author": control.metric if related else 0.5}  # fmt: skip
    found = dealt_out(lab, facts)
    assert found["dealt.metric"] < 0.3
    assert not related or control.metric > 0.8


def judged(**facts: Any) -> Any:
    few = {"pairing.z": 0.5, "pairing.lag_z": 1.5, "pairing.batch_z": 1.0, "experiment.probe": 0.03,
           "experiment.towers": 0.03, "experiment.start": 0.02, "experiment.author": 0.24,
           "trace.rows": 256}  # fmt: skip
    given = {**WELL, **few, **{name.replace("__", "."): value for name, value in facts.items()}}
    return examine(UnrelatedPairs(), Run(facts={name: value for name, value in given.items() if value is not None}))


def test_pairs_that_the_author_s_program_finds_are_not_called_unrelated():
    assert judged(dealt__metric=0.06).outcome is Outcome.CLEAR


def test_a_metric_that_rises_as_far_on_dealt_pairs_shows_no_relation():
    assert judged(dealt__metric=0.23).outcome is Outcome.ISSUE


def test_nothing_is_claimed_where_nobody_knows_what_the_metric_rose_by():
    assert judged().outcome is Outcome.NOT_APPLICABLE


def test_nothing_is_claimed_of_ids_that_were_hardly_seen():
    few = {"experiment__author": 0.02, "experiment__steps": 20, "rows__distinct_queries": 4000}
    assert judged(rows__bare=True, **few).outcome is Outcome.NOT_APPLICABLE
    assert judged(rows__bare=False, **few).outcome is Outcome.ISSUE


def test_what_the_author_s_program_finds_among_rows_held_back_counts_as_found():
    assert judged(experiment__own_metric=None, experiment__author_probe=0.5).outcome is Outcome.CLEAR


def test_a_tower_that_stands_still_is_the_reason_why_popularity_helps():
    facts = {**WELL, "experiment.control.relative": -0.8, "experiment.trainable.relative": -0.8,
             "experiment.trainable.low": -0.9, "experiment.trainable.high": -0.7, "parameters.forgotten": 0.4,
             "popularity.before": 0.06, "popularity.after": 0.14, "popularity.z": 6.0,
             "popularity.correlation": 0.1, "popularity.documents": 600}  # fmt: skip
    run = Run(facts=facts)
    found = {f.code: f for f in settled([examine(c, run) for c in (UnknownPopularity(), ForgottenParameters())], facts)}
    assert found["OPT004"].outcome is Outcome.ISSUE
    assert found["NEG007"].outcome is Outcome.WATCH
    alone = settled([examine(UnknownPopularity(), run)], facts)
    assert alone[0].outcome is Outcome.ISSUE
