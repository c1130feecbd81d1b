"""Every way to bring negatives, in the loop: the loss worked out by hand, and on again bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import polars as pl
import pytest
import torch
from little import equal, plan, recipe, rows, setup, weights
from test_loop import Notes

from embedfit.engine import bring
from embedfit.engine.loop import train
from embedfit.engine.setup import prepare
from embedfit.engine.step import loss_of
from embedfit.errors import RecipeError
from embedfit.negatives import Mined
from embedfit.pairs import Pairs
from embedfit.scores import Doubtful, Guide, marked, units
from embedfit.team import Team

WAYS: list[dict[str, Any]] = [
    {"kind": "random", "each": 2},
    {"kind": "random", "each": 2, "meet": "own"},
    {"kind": "mixed", "size": 5},
    {"kind": "queue", "size": 20},
    {"kind": "mined", "each": 2, "depth": 4, "refresh": "2 steps"},
]
GROWING = [0.1, 0.2, 0.3, 0.4, 0.5]


def with_(way: dict[str, Any], **more: Any) -> Any:
    return setup("pairs", "static", **{f"negatives__{k}": v for k, v in way.items()}, **more)


def test_every_way_goes_on_as_if_nothing_had_happened() -> None:
    for way in WAYS:
        whole, notes = with_(way), Notes(GROWING)
        train(whole.objective, whole.material, whole.groups, plan(whole), notes.observer())
        half, first = with_(way), Notes(GROWING)
        with pytest.raises(KeyboardInterrupt):
            train(half.objective, half.material, half.groups, plan(half),
                  first.observer(stop=lambda first=first: len(first.losses) == 5))  # fmt: skip
        again, second = with_(way), Notes(GROWING[2:])
        train(again.objective, again.material, again.groups, plan(again), second.observer(), first.kept[-1])
        assert equal(weights(again), weights(whole)), way
        assert first.losses + second.losses == notes.losses, way


def test_a_query_that_meets_its_own_negatives_only_has_the_loss_of_those() -> None:
    made = with_({"kind": "random", "each": 3, "meet": "own"})
    batch = made.material.batch_of(0, plan(made))
    model, temperature = made.objective.model.eval(), made.chosen.temperature
    with torch.no_grad():
        query, document = units(model.query(batch.query)).double(), units(model.document(batch.document)).double()
    losses = []
    for i, own in enumerate(batch.own.tolist()):
        right = int(batch.positive[i])
        same = int(batch.document_id[right])
        known = {int(d) for q, d in zip(batch.query_id, batch.document_id[batch.positive], strict=True)
                 if int(q) == int(batch.query_id[i])}  # fmt: skip
        wrong = {j for j in own if j >= 0 and int(batch.document_id[j]) not in {same, *known}}
        logits = torch.stack([query[i] @ document[j] for j in (right, *sorted(wrong))]) / temperature
        losses.append(float(torch.logsumexp(logits, 0) - logits[0]))
    assert loss_of(made.objective, batch) == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert made.chosen.candidates == 4


def test_a_queue_holds_the_newest_embeddings_and_queries_face_them_without_gradient() -> None:
    made = with_({"kind": "queue", "size": 20}, loss__label_smoothing=0.0)
    queue = made.material.negatives
    generator = torch.Generator().manual_seed(1)
    first = made.material.batch_of(0, plan(made))
    old = torch.randn(len(first.document), 8, generator=generator)
    queue.take(first, old)
    batch = made.material.batch_of(1, plan(made))
    assert batch.memory is not None
    apart = [i for i, d in enumerate(first.document_id.tolist()) if d not in batch.document_id.tolist()]
    torch.testing.assert_close(batch.memory.vectors, old[apart])
    model = made.objective.model.eval()
    with torch.no_grad():
        query, document = model.query(batch.query), torch.cat([model.document(batch.document), old[apart]])
        everything = marked(units(query) @ units(document).T, batch.positive)
    assert everything.values.shape[1] == len(batch.document) + len(apart)
    scores = marked(everything.values, batch.positive, Doubtful.of(batch, made.objective.known))
    expected = made.objective.loss(scores).mean()
    assert loss_of(made.objective, batch) == pytest.approx(float(expected), rel=1e-5)
    queue.take(batch, torch.ones(len(batch.document), 8))
    assert len(queue.held) <= 20
    assert (queue.held.vectors[: len(batch.document)] == 1).all()


def test_a_guide_takes_out_what_it_finds_nearer_than_the_positive() -> None:
    vectors = torch.eye(4)
    vectors[2] = torch.tensor([1.0, 0.0, 0.0, 0.0])  # document 2 is query 0's own, for the guide
    guide = Guide(vectors)
    row, column = guide.cells(torch.tensor([0, 1]), torch.tensor([3, 3]), torch.tensor([1, 2, 3]))
    assert list(zip(row.tolist(), column.tolist(), strict=True)) == [(0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("classes", {"negatives__kind": "mined"}, "prototypes of all classes"),
        ("graded", {"negatives__kind": "queue"}, "graded pairs have none"),
        ("pairs", {"negatives__meet": "own"}, "nothing is brought for each query"),
        ("pairs", {"negatives__each": 7}, "negatives.each is 7, and negatives.kind 'in_batch' has no use for it"),
        (
            "pairs",
            {"negatives__kind": "queue", "negatives__depth": 9},
            "negatives.depth is 9, and negatives.kind 'queue'",
        ),
        ("pairs", {"negatives__kind": "mined", "negatives__sieve": "none", "negatives__amount": 0.5}, "sieve 'none'"),
        ("pairs", {"negatives__teacher_margin": 0.1}, "a run without negatives.teacher has no use for it"),
        ("pairs", {"negatives__kind": "mined", "negatives__skip": 11}, "there are 12: none is left"),
        ("pairs", {"negatives__kind": "queue", "loss__kind": "simsiam"}, "looks at no other document"),
    ],
)
def test_negatives_without_an_effect_are_refused(kind: str, more: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        setup(kind, **more)


def test_a_stage_that_looks_at_negatives_has_a_use_for_them() -> None:
    stages = [{"until": "4 steps", "loss": {"kind": "infonce"}}]
    made = with_({"kind": "queue"}, loss__kind="simsiam", curriculum__stages=stages)
    assert made.stages[0].loss is not None


@pytest.mark.parametrize(("sieve", "amount"), [("share", 0.95), ("margin", 0.05)])
def test_a_sieve_is_as_wide_as_it_needs_to_be_of_its_kind(sieve: str, amount: float) -> None:
    made = with_({"kind": "mined", "sieve": sieve}).material.negatives
    assert isinstance(made, Mined)
    assert made.sieve.amount == amount


SAMPLED: list[dict[str, Any]] = [
    {"kind": "in_batch"},
    {"kind": "random", "each": 1},
    {"kind": "random", "each": 2, "meet": "own"},
    {"kind": "mixed", "size": 5},
    {"kind": "queue", "size": 8},
    {"kind": "queue", "size": 40},
]


@pytest.mark.parametrize("stage", [None, 2])
@pytest.mark.parametrize("way", SAMPLED)
def test_what_a_query_meets_stands_for_the_whole_catalogue(way: dict[str, Any], stage: int | None) -> None:
    """Weighted by 1 / q, what is met has the size of the catalogue, which makes the corrected softmax an estimate."""
    more: dict[str, Any] = {}
    if stage is not None:  # of smaller batches than the run's
        more = {"optim__length": "120 steps", "curriculum__stages": [{"until": "110 steps", "batch_size": stage}]}
    made = with_(way, loss__kind="logq", optim__batch_size=4, **more)
    sizes, material, asked = [], made.material, plan(made)
    for number in range(100):
        batch = material.batch_of(number, asked)
        weight = batch.candidate_log_q.neg().exp().double()
        met = [own.unique() for own in batch.own] if batch.own is not None else [torch.arange(len(weight))]
        sizes.append(sum(float(weight[one].sum()) for one in met) / len(met))
        material.negatives.take(batch, torch.zeros(len(batch.document), 8))
    documents = len(material.data.document_texts)
    assert made.facts["loss.candidates"] == documents == 12
    assert sum(sizes[:20]) / 20 == pytest.approx(documents, rel=0.15)  # while a queue fills
    assert sum(sizes[20:]) / 80 == pytest.approx(documents, rel=0.06)


@pytest.mark.parametrize("way", [{"kind": "mined"}, {"kind": "random", "meet": "own"}])
def test_a_correction_for_what_nobody_knows_is_refused(way: dict[str, Any]) -> None:
    table = rows("pairs").table.with_columns(negative_1=pl.lit("How do I repair the moon?"))
    asked = recipe(**{f"negatives__{name}": value for name, value in way.items()}, loss__kind="logq")
    with pytest.raises(RecipeError, match="nobody knows it of"):
        prepare(Pairs(kind="pairs", table=table), asked)


class Pretended(Team):
    """One of two processes, played one after the other: what each told is handed to both the second time."""

    told: ClassVar[dict[int, list[torch.Tensor]]] = {}
    device = torch.device("cpu")

    def gather(self, rows: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        assert len(rows) == counts[self.rank]
        self.told.setdefault(self.rank, []).append(rows)
        if len(self.told) < 2:
            return rows.new_zeros(sum(counts), *rows.shape[1:])
        turn = len(self.told[self.rank]) - 1
        return torch.cat([self.told[rank][turn] for rank in (0, 1)])


def test_processes_that_embed_a_share_each_have_the_bits_of_one_that_embeds_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bring, "AT_ONCE", 7)
    made = setup("pairs", "gru")
    arguments = (made.objective.model, made.material.query_tokens, made.material.document_tokens, torch.device("cpu"))
    alone = bring.embeddings_of(*arguments)
    Pretended.told.clear()
    bring.embeddings_of(*arguments, Pretended(rank=0, size=2))
    both = bring.embeddings_of(*arguments, Pretended(rank=1, size=2))
    assert all(torch.equal(mine, whole) for mine, whole in zip(both, alone, strict=True))
    assert all(0 < len(rows) < len(whole) for rows, whole in zip(Pretended.told[0], alone, strict=True))
