"""Every loss against a naive float64 loop, and the properties all losses share."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_losses import MARGINS, ROWS, SOFTMAX, Case, by_definition, random_scores

from embedfit.losses import (
    CoSENT,
    CosineRegression,
    Debiased,
    Diameter,
    Hinge,
    Homotopy,
    InfoNCE,
    LogQ,
    Loss,
    Margin,
    Sigmoid,
    Symmetric,
    Temperature,
)
from embedfit.losses import TargetProbability as Target
from embedfit.losses.ranking import Which
from embedfit.scores import Scores

LOSSES: list[Loss] = [*(case.loss for case in ROWS), *(Symmetric(case.loss) for case in ROWS[:3])]


@pytest.mark.parametrize("case", ROWS, ids=str)
@given(seed=st.integers(0, 10_000), q=st.integers(1, 6), d=st.integers(2, 9))
@settings(max_examples=8)
def test_a_loss_equals_its_definition_in_float64(case: Case, seed: int, q: int, d: int) -> None:
    scores = random_scores(q, d, seed, several=case.alone)
    torch.testing.assert_close(case.loss(scores).detach(), by_definition(case, scores), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_symmetric_is_the_mean_of_both_directions(case: Case) -> None:
    scores = random_scores(6, 6, seed=3)
    one = Scores(scores.values, torch.eye(6, dtype=torch.bool), scores.candidate | torch.eye(6, dtype=torch.bool))
    there, back = by_definition(case, one), by_definition(case, one.T)
    torch.testing.assert_close(Symmetric(case.loss)(one).detach(), (there + back) / 2, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@given(seed=st.integers(0, 10_000), q=st.integers(1, 8), d=st.integers(2, 9))
@settings(max_examples=6)
def test_permuting_the_queries_permutes_the_losses(loss: Loss, seed: int, q: int, d: int) -> None:
    scores = random_scores(q, d, seed)
    p = torch.randperm(q, generator=torch.Generator().manual_seed(seed))
    permuted = Scores(scores.values[p], scores.positive[p], scores.candidate[p])
    torch.testing.assert_close(loss(permuted), loss(scores)[p])


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_cells_that_are_no_candidates_have_no_influence_and_no_gradient(loss: Loss) -> None:
    scores = random_scores(6, 8, seed=1)
    values = scores.values.clone().requires_grad_()
    loss(Scores(values, scores.positive, scores.candidate)).sum().backward()
    assert values.grad is not None
    assert values.grad[~scores.candidate].abs().max() == 0
    changed = torch.where(scores.candidate, scores.values, torch.tensor(0.9, dtype=torch.float64))
    torch.testing.assert_close(loss(Scores(changed, scores.positive, scores.candidate)), loss(scores), rtol=0, atol=0)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_gradients_agree_with_finite_differences(loss: Loss) -> None:
    if type(loss).__name__ == "Circle":
        pytest.skip("its weights are held, so that its gradient is not that of its value")
    scores = random_scores(3, 5, seed=5)
    values = scores.values.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: loss(Scores(v, scores.positive, scores.candidate)), (values,))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_a_query_without_negatives_or_positives_is_finite_with_a_finite_gradient(loss: Loss) -> None:
    values = torch.tensor([[0.3, 0.2], [0.1, 0.4], [0.5, 0.6]], requires_grad=True)
    positive = torch.tensor([[True, False], [False, False], [True, True]])
    candidate = torch.tensor([[True, False], [True, True], [True, True]])
    out = loss(Scores(values, positive, candidate))
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()


def test_near_convergence_the_gradient_keeps_its_relative_precision() -> None:
    """At a loss of about 4e-5 a plain fp32 softmax loses two digits; ours must keep 1e-5 against float64."""
    n = 64
    values = torch.full((n, n), 0.2, dtype=torch.float64) + 0.01 * torch.rand(n, n, dtype=torch.float64)
    values.fill_diagonal_(0.92)
    eye, all_ = torch.eye(n, dtype=torch.bool), torch.ones(n, n, dtype=torch.bool)

    def gradient(dtype: torch.dtype) -> tuple[float, torch.Tensor]:
        leaf = values.to(dtype).clone().requires_grad_()
        loss = InfoNCE(0.05)(Scores(leaf, eye, all_)).mean()
        loss.backward()
        assert leaf.grad is not None
        return loss.item(), leaf.grad.double()

    exact_loss, exact = gradient(torch.float64)
    rough_loss, rough = gradient(torch.float32)
    assert 1e-5 < exact_loss < 1e-4
    # the cosines themselves are rounded to fp32 first (relative 6e-8, times 1 / temperature)
    assert abs(rough_loss - exact_loss) / exact_loss < 1e-5
    assert float((rough - exact).norm() / exact.norm()) < 1e-5


def graded(values: list[float], grades: list[float]) -> Scores:
    v = torch.tensor(values, dtype=torch.float64)[:, None]
    yes = torch.ones_like(v, dtype=torch.bool)
    return Scores(v, yes, yes, torch.tensor(grades, dtype=torch.float64)[:, None])


@given(
    rows=st.lists(st.tuples(st.floats(-1, 1), st.sampled_from([0.0, 1.0, 2.5, 5.0])), min_size=1, max_size=8),
    temperature=st.sampled_from([0.05, 0.5]),
)
@settings(max_examples=60)
def test_cosent_equals_a_naive_loop(rows: list[tuple[float, float]], temperature: float) -> None:
    values, grades = [r[0] for r in rows], [r[1] for r in rows]
    total = 1.0
    for vi, gi in rows:
        for vj, gj in rows:
            if gi > gj:
                total += math.exp((vj - vi) / temperature)
    expected = torch.full((len(rows),), math.log(total), dtype=torch.float64)
    torch.testing.assert_close(CoSENT(temperature)(graded(values, grades)), expected)


def test_cosent_of_equal_grades_is_zero_with_zero_gradient() -> None:
    scores = graded([0.1, 0.9, -0.4], [2.0, 2.0, 2.0])
    leaf = scores.values.clone().requires_grad_()
    out = CoSENT()(Scores(leaf, scores.positive, scores.candidate, scores.target))
    out.sum().backward()
    assert out.abs().max() == 0
    assert leaf.grad is not None
    assert leaf.grad.abs().max() == 0


def test_cosine_regression_is_the_squared_error() -> None:
    out = CosineRegression()(graded([0.1, 0.9], [0.0, 1.0]))
    torch.testing.assert_close(out, torch.tensor([0.01, 0.01], dtype=torch.float64))


@pytest.mark.parametrize("loss", [CoSENT(), CosineRegression()])
def test_graded_losses_refuse_scores_that_are_not_paired(loss: Loss) -> None:
    with pytest.raises(ValueError, match="paired scores"):
        loss(random_scores(3, 3, seed=0))


@pytest.mark.parametrize(
    "arguments",
    [{"temperature": 0.0}, {"temperature": -1.0}, {"margin": 2.0}, {"margin": -0.1}, {"label_smoothing": 1.0}],
)
def test_infonce_refuses_settings_out_of_range(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        InfoNCE(**arguments)


@pytest.mark.parametrize("margin", [margin for margin, _ in MARGINS], ids=repr)
def test_a_margin_lowers_falls_and_has_a_finite_slope_everywhere(margin: Margin) -> None:
    cosine = torch.linspace(-1, 1, 2001, dtype=torch.float32).requires_grad_()
    lowered = margin(cosine)
    (slope,) = torch.autograd.grad(lowered.sum(), cosine)
    assert torch.isfinite(slope).all()
    assert (lowered <= cosine + 1e-6).all()
    if "Least" not in repr(margin):  # cos(4 angle) rises again where cos angle is the lesser by far
        assert (lowered.diff() >= -1e-6).all()


@given(st.floats(0.01, 0.4))
def test_the_margin_of_a_diameter_is_the_lead_that_the_triangle_inequality_asks_for(radius: float) -> None:
    margin = Diameter(1.0, 1.99)
    margin.measured(radius)
    nearest_other = math.sqrt(1 - ((1 - radius**2) - margin.size))  # in the distance sqrt(1 - cos)
    assert nearest_other == pytest.approx(radius + 2 * radius, rel=1e-5)


def test_the_margin_of_a_diameter_asks_for_nothing_before_it_is_measured_and_never_for_more_than_there_is() -> None:
    margin, cosine = Diameter(0.5, widest=0.7), torch.tensor([0.9, -0.2])
    assert torch.equal(margin(cosine), cosine)
    margin.measured(0.2)
    assert torch.allclose(margin(cosine), cosine - 0.08)
    margin.measured(1.0)
    assert margin.size == pytest.approx(0.7)


@pytest.mark.parametrize(("share", "widest"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 2.0), (1.0, -0.1)])
def test_the_margin_of_a_diameter_refuses_settings_out_of_range(share: float, widest: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Diameter(share, widest)


@pytest.mark.parametrize("learned", [0.011, 0.05, 0.99])
def test_a_learned_temperature_begins_where_it_is_told_and_stays_within_its_bounds(learned: float) -> None:
    temperature = Temperature(learned, learned=True)
    assert temperature.value == pytest.approx(learned, rel=1e-4)
    for place, bound in ((-50.0, 0.01), (50.0, 1.0)):
        with torch.no_grad():
            temperature.place.fill_(place)
        assert temperature.value == pytest.approx(bound, rel=1e-4)


def test_a_probability_that_reaches_its_target_costs_nothing() -> None:
    values = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0]])
    own = torch.tensor([[True, False, False, False, False]])
    scores = Scores(values, own, torch.ones_like(own))
    reached = math.e / (math.e + 4)
    for clipped in (False, True):
        assert float(Target(1.0, reached, clipped=clipped)(scores)) == pytest.approx(0, abs=1e-6)
    assert float(Target(1.0, 0.3, clipped=True)(scores)) == 0
    assert float(Target(1.0, 0.3)(scores)) == pytest.approx((reached - 0.3) ** 2)


def test_without_a_prior_the_debiased_loss_is_infonce() -> None:
    scores = random_scores(6, 9, seed=2)
    torch.testing.assert_close(Debiased(0.1, 0.0)(scores), InfoNCE(0.1)(scores))


def test_logq_estimates_the_softmax_over_the_whole_catalogue() -> None:
    """Over many batches the weighted sum of exp(negatives) is that of all documents, whatever their frequency."""
    g = torch.Generator().manual_seed(0)
    catalogue = torch.rand(40, generator=g, dtype=torch.float64) * 2 - 1
    inclusion = torch.rand(40, generator=g, dtype=torch.float64) * 0.8 + 0.1
    inclusion[0] = 1.0  # the positive
    whole = InfoNCE(0.5)(Scores(catalogue[None], torch.eye(1, 40, dtype=torch.bool), torch.ones(1, 40) > 0))
    estimates = []
    for _ in range(4000):
        drawn = torch.rand(40, generator=g, dtype=torch.float64) < inclusion
        own = torch.eye(1, 40, dtype=torch.bool)[:, drawn]
        scores = Scores(catalogue[None, drawn], own, torch.ones_like(own), log_q=inclusion[drawn].log())
        estimates.append(LogQ(0.5)(scores).expm1())  # (sum of exp(negatives)) / exp(positive)
    assert float(torch.stack(estimates).mean()) == pytest.approx(float(whole.expm1()), rel=0.02)


def test_the_gradient_of_logq_is_that_of_the_weighted_form_of_the_paper() -> None:
    scores = random_scores(5, 8, seed=4, several=False)
    log_q = torch.linspace(-3, -0.1, 8, dtype=torch.float64)
    ours, theirs = (scores.values.clone().requires_grad_() for _ in range(2))
    LogQ(0.2)(Scores(ours, scores.positive, scores.candidate, log_q=log_q)).sum().backward()
    negative = scores.candidate & ~scores.positive
    lse = (theirs / 0.2 - log_q).masked_fill(~negative, -torch.inf).logsumexp(-1)
    own = theirs[scores.positive] / 0.2
    weight = 1 - (own.exp() / (own.exp() + lse.exp())).detach()
    (-weight * (own - lse)).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_corrected_positives_too_it_is_the_softmax_of_yi_2019() -> None:
    scores = random_scores(5, 8, seed=4, several=False)
    log_q = torch.linspace(-3, -0.1, 8, dtype=torch.float64)
    corrected = (scores.values / 0.2 - log_q).masked_fill(~scores.candidate, -torch.inf)
    expected = -corrected.log_softmax(-1)[scores.positive]
    found = LogQ(0.2, positive_too=True)(Scores(scores.values, scores.positive, scores.candidate, log_q=log_q))
    torch.testing.assert_close(found, expected)


def test_the_power_of_a_probability_stays_finite_far_out() -> None:
    values = torch.tensor([[1.0, -1.0, 1.0]], requires_grad=True)
    own = torch.tensor([[True, False, False]])
    loss = Sigmoid(0.005, bias=0.0, power=4.0)(Scores(values, own, torch.ones_like(own)))
    loss.sum().backward()
    assert float(loss.detach()) == pytest.approx(200 - math.log(4), rel=1e-5)
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()


@pytest.mark.parametrize("case", SOFTMAX, ids=str)
def test_a_loss_prints_what_it_is(case: Case) -> None:
    assert type(case.loss).__name__ in str(case.loss)


def test_the_homotopy_ends_at_the_hinge_over_the_hardest_negative() -> None:
    scores = random_scores(6, 9, seed=8)
    loss = Homotopy(0.1, 1e-5, margin=0.2)
    begin = loss(scores)
    torch.testing.assert_close(begin, 0.1 * InfoNCE(0.1, 0.2)(scores))
    loss.at(1.0)
    torch.testing.assert_close(loss(scores), Hinge(0.2, "hardest")(scores), atol=1e-4, rtol=0)
    loss.at(0.0)
    torch.testing.assert_close(loss(scores), begin)


@pytest.mark.parametrize("which", ["all", "semi_hard", "hardest"])
@pytest.mark.parametrize("distance", [False, True])
def test_collapsed_embeddings_cost_the_margin_and_have_a_finite_gradient(which: Which, distance: bool) -> None:
    values = torch.ones(4, 4, requires_grad=True)
    own = torch.eye(4, dtype=torch.bool)
    loss = Hinge(0.3, which, distance=distance)(Scores(values, own, torch.ones_like(own)))
    torch.testing.assert_close(loss, torch.full((4,), 0.3))
    loss.sum().backward()
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()
