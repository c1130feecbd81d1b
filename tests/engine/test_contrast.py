"""Loss and gradient by every way, against the formula written out in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from embedfit.engine import contrast as module
from embedfit.engine import tiling
from embedfit.engine.contrast import Way, contrast
from embedfit.engine.coordinates import before_units
from embedfit.engine.pairing import Pairing
from embedfit.losses import DCL, Angular, CoSENT, Debiased, Focal, InfoNCE, LogQ, Loss, Sigmoid, Softmax, Symmetric
from embedfit.scores import Doubtful, Known, Rivals, marked
from embedfit.types import Batch, Tokens


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "BLOCK", 7)
    monkeypatch.setattr(tiling, "WIDTH", 9)
    monkeypatch.setattr(module, "STREAMED", 5)


def case(seed: int, q: int, d: int, e: int = 6, lead: float = 1.0) -> tuple[Tensor, Tensor, Pairing]:
    """Embeddings with owners shared, copies, classes, known pairs and weights among them."""
    g = torch.Generator().manual_seed(seed)

    def number(low: int, high: int, n: int) -> Tensor:
        return torch.randint(low, high, (n,), generator=g)

    positive = number(0, d, q)
    document = torch.randn(d, e, generator=g)
    query = torch.randn(q, e, generator=g) + lead * document[positive]
    batch = Batch(
        query=Tokens.of([[1]] * q),
        document=Tokens.of([[1]] * d),
        positive=positive,
        query_id=number(0, 2 * q, q),
        document_id=number(0, 2 * d, d),
        query_group=number(-1, 4, q),
        document_group=number(-1, 9, d),
        weight=torch.rand(q, generator=g) + 0.1,
        target=None,
        rows=torch.arange(q),
    )
    known = Known(number(0, 2 * q, q), number(0, 2 * d, q))
    return query, document, pairing(batch.positive, batch.weight, d, Doubtful.of(batch, known))


def pairing(positive: Tensor, weight: Tensor, documents: int, doubtful: Doubtful | None = None) -> Pairing:
    return Pairing(positive=positive, weight=weight, doubtful=doubtful, queries=[len(positive)], documents=[documents])


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def by_hand(query: Tensor, document: Tensor, loss: Loss, pairs: Pairing) -> tuple[Tensor, float, Tensor, Tensor]:
    """Automatic differentiation of the whole matrix in float64."""
    q, d = query.double().requires_grad_(), document.double().requires_grad_()
    log_q = None if pairs.log_q is None else pairs.log_q.double()
    losses = loss(replace(marked(unit(q) @ unit(d).T, pairs.positive, pairs.doubtful), log_q=log_q))
    value = (losses * pairs.share.double()).sum()
    value.backward()
    assert q.grad is not None
    assert d.grad is not None
    return losses.detach(), value.item(), q.grad, d.grad


def near(one: Tensor, other: Tensor, most: float = 1e-5) -> bool:
    return float((one.double() - other).norm()) <= most * float(other.norm()) + 1e-9


def losses_of(temperature: float) -> dict[str, Loss]:
    plain, wide = InfoNCE(temperature), InfoNCE(temperature, margin=0.2)
    smooth = InfoNCE(temperature, label_smoothing=0.1)
    return {
        "one way": plain,
        "both ways": Symmetric(plain),
        "margin": Symmetric(wide),
        "smoothed": smooth,
        "smoothed, both ways": Symmetric(smooth),
        "debiased": Symmetric(Debiased(temperature, 0.02)),
        "focal": Focal(temperature),
        "cell by cell": Sigmoid(temperature, bias=-2.0),
    }


@settings(max_examples=12)
@given(
    seed=st.integers(0, 10_000),
    q=st.integers(1, 30),
    d=st.integers(1, 30),
    temperature=st.sampled_from([1.0, 0.1, 0.02]),
)
def test_every_way_gives_the_loss_and_gradient_of_the_formula(seed: int, q: int, d: int, temperature: float) -> None:
    query, document, pairs = case(seed, q, d)
    for name, loss in losses_of(temperature).items():
        losses, value, to_q, to_d = by_hand(query, document, loss, pairs)
        ways: list[Way] = ["dense", "streamed"] if "cell" in name else ["dense", "streamed", "tiled", "ring"]
        for way in ways:
            found = contrast(query, document, loss, pairs, way=way)
            # 1e-6 absolute at temperature .02: cosines in fp32 are known to 1e-7, logits to 5e-6
            assert near(found.losses, losses, 3e-5), (name, way)
            assert found.value == pytest.approx(value, rel=3e-5, abs=1e-9), (name, way)
            assert near(found.query, to_q, 5e-5), (name, way)
            assert near(found.document, to_d, 5e-5), (name, way)


@pytest.mark.parametrize("block", [7, 64])
@pytest.mark.parametrize("width", [9, 64])
@pytest.mark.parametrize("temperature", [0.05, 0.015, 0.004])
def test_the_size_of_a_tile_is_not_seen_in_what_comes_out(
    block: int, width: int, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # one tile alone, rows or columns in several, both; with logits that need no peak, one of all, and one each
    monkeypatch.setattr(tiling, "BLOCK", block)
    monkeypatch.setattr(tiling, "WIDTH", width)
    query, document, pairs = case(4, 40, 50, lead=0.3)
    for loss in (Symmetric(InfoNCE(temperature)), Symmetric(InfoNCE(temperature, label_smoothing=0.1))):
        losses, value, to_q, to_d = by_hand(query, document, loss, pairs)
        ways: tuple[Way, ...] = ("tiled", "ring")
        for found in (contrast(query, document, loss, pairs, way=way) for way in ways):
            assert found.value == pytest.approx(value, rel=1e-5)
            assert near(found.losses, losses)
            assert near(found.query, to_q, 2e-4)
            assert near(found.document, to_d, 2e-4)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("length", [1.0, 100.0, 1e-3, 1e-14, 0.0])
def test_the_gradient_before_unit_length_is_that_of_automatic_differentiation(length: float, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    x, gradient = length * torch.randn(5, 8, generator=g), torch.randn(5, 8, generator=g)
    leaf = x.double().requires_grad_()
    (expected,) = torch.autograd.grad(normalize(leaf, dim=1), leaf, gradient.double())
    # row by row: a single coordinate may be the small difference of two large ones
    assert all(map(near, before_units(x, gradient.clone()), expected))


def test_at_a_hundredth_of_a_degree_logits_of_200_do_no_harm() -> None:
    query, document, pairs = case(3, 40, 50, lead=0.1)
    loss = Symmetric(InfoNCE(0.005))
    losses, value, to_q, to_d = by_hand(query, document, loss, pairs)
    found = contrast(query, document, loss, pairs, way="tiled")
    assert found.value == pytest.approx(value, rel=1e-5)
    assert near(found.query, to_q, 2e-4)
    assert near(found.document, to_d, 2e-4)
    assert near(found.losses, losses)


def test_near_convergence_the_gradient_keeps_its_precision() -> None:
    # orthogonal pairs: every cosine is exactly 0 or 1, so that only the loss itself can lose digits
    n = 64
    query = torch.eye(n)
    pairs = pairing(torch.arange(n), torch.ones(n), n)
    loss = Symmetric(InfoNCE(0.05))
    _, value, to_q, _ = by_hand(query, query.clone(), loss, pairs)
    assert 0 < value < 2e-7
    tilted = query + 0.01 * torch.randn(n, n, generator=torch.Generator().manual_seed(0))
    _, value, to_q, to_d = by_hand(tilted, query, loss, pairs)
    found = contrast(tilted, query, loss, pairs, way="tiled")
    assert found.value == pytest.approx(value, rel=1e-5)
    assert near(found.query, to_q)
    assert near(found.document, to_d)


def test_a_query_without_any_negative_costs_nothing_and_moves_nothing() -> None:
    query, document = torch.randn(3, 4), torch.randn(1, 4)
    pairs = pairing(torch.zeros(3, dtype=torch.long), torch.ones(3), 1)
    for loss in (InfoNCE(0.05), Symmetric(InfoNCE(0.05))):
        found = contrast(query, document, loss, pairs, way="tiled")
        assert found.value == 0
        assert not found.query.any()
        assert not found.document.any()


def test_bf16_embeddings_are_scored_in_fp32() -> None:
    query, document, pairs = case(5, 60, 60)
    low_q, low_d = query.bfloat16(), document.bfloat16()
    for loss in (InfoNCE(0.05), Symmetric(InfoNCE(0.05))):
        losses, value, to_q, to_d = by_hand(low_q, low_d, loss, pairs)
        found = contrast(low_q, low_d, loss, pairs, way="tiled")
        assert found.value == pytest.approx(value, rel=1e-5)
        assert near(found.losses, losses)
        assert near(found.query, to_q, 1e-4)
        assert near(found.document, to_d, 1e-4)


class Learned(Softmax):
    """InfoNCE whose temperature is a parameter."""

    def __init__(self) -> None:
        super().__init__(0.1)
        self.log = torch.nn.Parameter(torch.tensor(2.0))

    @property
    def scale(self) -> Tensor:
        """exp(log)."""
        return self.log.exp()

    def of(self, positive: Tensor, rivals: Rivals) -> Tensor:
        """With a margin of .1, which meets the temperature too."""
        return torch.nn.functional.softplus(rivals.logsumexp - positive + 0.1 * self.scale.to(positive))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("way", ["dense", "streamed", "tiled", "ring"])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_learned_temperature_gets_its_gradient_added_to_what_it_had(symmetric: bool, way: Way, parts: int) -> None:
    query, document, pairs = case(9, 20, 25)
    loss = Learned()
    whole: Loss = Symmetric(loss) if symmetric else loss
    expected = 0.0
    for q, d in zip(query.chunk(parts, -1), document.chunk(parts, -1), strict=True):
        loss.log.grad = None
        by_hand(q, d, whole, pairs)
        assert loss.log.grad is not None
        expected += float(loss.log.grad) / parts
    loss.log.grad = torch.tensor(3.0)
    contrast(query, document, whole, pairs, parts=parts, way=way)
    assert float(loss.log.grad) == pytest.approx(3.0 + expected, rel=1e-4)


def test_a_loss_over_pairs_of_rows_is_not_torn_apart() -> None:
    query, document, pairs = case(1, 8, 8)
    graded = replace(pairs, positive=torch.arange(8), target=torch.linspace(0, 1, 8), doubtful=None)
    contrast(query, document, CoSENT(0.1), graded)
    with pytest.raises(ValueError, match="no matrix"):
        contrast(query, document, CoSENT(0.1), graded, way="streamed")
    with pytest.raises(ValueError, match="stream it"):
        contrast(query, document, Sigmoid(0.1), pairs, way="tiled")


@pytest.mark.parametrize("loss", [LogQ(0.1), LogQ(0.1, positive_too=True)], ids=["2025", "2019"])
@pytest.mark.parametrize("way", ["dense", "streamed", "tiled", "ring"])
def test_what_sampling_brings_often_is_corrected_for_every_way(loss: Loss, way: Way) -> None:
    query, document, pairs = case(11, 20, 25)
    log_q = torch.linspace(-4, -0.01, 25)
    pairs = replace(pairs, log_q=log_q)
    losses, _, to_q, to_d = by_hand(query, document, loss, pairs)
    found = contrast(query, document, loss, pairs, way=way)
    assert near(found.losses, losses)
    assert near(found.query, to_q, 5e-5)
    assert near(found.document, to_d, 5e-5)
    plain = contrast(query, document, InfoNCE(0.1), pairs, way=way)  # which does not ask for it
    assert near(plain.losses, by_hand(query, document, InfoNCE(0.1), replace(pairs, log_q=None))[0])


@pytest.mark.parametrize("loss", [DCL(0.1), InfoNCE(0.1, Angular(0.5)), InfoNCE(0.1, label_smoothing=0.2)])
def test_both_directions_of_a_softmax_loss_in_tiles(loss: Loss) -> None:
    query, document, pairs = case(12, 30, 22)
    losses, value, to_q, to_d = by_hand(query, document, Symmetric(loss), pairs)
    found = contrast(query, document, Symmetric(loss), pairs, way="tiled")
    assert found.value == pytest.approx(value, rel=1e-5)
    assert near(found.losses, losses)
    assert near(found.query, to_q, 5e-5)
    assert near(found.document, to_d, 5e-5)


def test_a_column_without_cells_in_one_block_keeps_what_other_blocks_found() -> None:
    # the last block is one row, whose only cell in the outlier's column is its own positive; all else lies 150 higher
    g = torch.Generator().manual_seed(0)
    query = torch.tensor([1.0, 0, 0, 0]) + 0.05 * torch.randn(8, 4, generator=g)
    document = torch.tensor([1.0, 0, 0, 0]) + 0.05 * torch.randn(8, 4, generator=g)
    document[7] = torch.tensor([-0.6, 0.8, 0, 0])
    pairs = pairing(torch.arange(8), torch.ones(8), 8)
    loss = Symmetric(InfoNCE(0.01))
    losses, value, to_q, to_d = by_hand(query, document, loss, pairs)
    found = contrast(query, document, loss, pairs, way="tiled")
    assert found.value == pytest.approx(value, rel=1e-5)
    assert near(found.losses, losses)
    assert near(found.query, to_q, 1e-4)
    assert near(found.document, to_d, 1e-4)
