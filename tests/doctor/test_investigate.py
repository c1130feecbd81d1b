from __future__ import annotations

import pytest
import torch
from program_world import Batches, builder

import embedfit as ef
from embedfit.doctor import Outcome, select
from embedfit.doctor.examine import examine
from embedfit.doctor.investigation import investigate, settled, summed_up
from embedfit.doctor.material import gather
from embedfit.doctor.program import Evaluates, Program, Updates
from embedfit.doctor.reference import reference_loss
from embedfit.errors import EmbedfitError
from embedfit.run import Run

NAMED = {
    "reversed": "LOS004", "positives": "NEG003", "rolled": "PAI001", "forgotten": "OPT004", "unrelated": "PAI003",
}  # fmt: skip


def test_the_program_of_the_tests_fits_the_protocol():
    program = builder()()
    assert isinstance(program, Program)
    assert isinstance(program, Updates)
    assert isinstance(program, Evaluates)


@pytest.mark.slow
@pytest.mark.parametrize("fault", NAMED)
def test_the_cause_of_a_broken_program_is_named_first(fault):
    found = investigate(builder(fault), budget="40s")
    assert found.verdict == "ill", str(found)
    assert found.findings[0].code == NAMED[fault], str(found)
    assert len(str(found).splitlines()) <= 25


@pytest.mark.slow
def test_a_healthy_program_is_called_healthy_and_its_page_can_be_written(tmp_path):
    found = ef.investigate(builder(), budget="40s")
    assert found.verdict == "healthy", str(found)
    assert not found.having(Outcome.ISSUE)
    assert found.cost.steps > 0
    page = found.to_html(tmp_path / "doctor.html").read_text("utf-8")
    assert "keep going" in page
    assert "http" not in page.split("<main>")[1].split("</main>")[0]


def test_an_investigation_leaves_random_numbers_alone():
    before = torch.get_rng_state()
    investigate(builder("reversed"), budget=5)
    assert torch.equal(before, torch.get_rng_state())


def test_columns_are_traced_to_the_side_they_feed():
    material = gather(builder()())
    assert (material.query, material.document) == (("0",), ("1",))
    assert material.pool is not None
    assert material.probe is not None
    assert material.pool.rows + material.probe.rows == len(list(Batches("", 0))) * material.size
    assert not material.held  # the author has a metric of his own


def test_equal_documents_are_no_negatives_of_the_reference():
    torch.manual_seed(0)
    query, document = torch.randn(4, 8), torch.randn(3, 8)[[0, 1, 2, 0]]
    numbers = torch.tensor([0, 1, 2, 0])
    masked = reference_loss(query, document, (torch.arange(4), numbers))
    logits = torch.nn.functional.normalize(query, dim=1) @ torch.nn.functional.normalize(document, dim=1).T / 0.05
    logits[0, 3] = logits[3, 0] = -torch.inf
    ways = [torch.nn.functional.cross_entropy(x, torch.arange(4)) for x in (logits, logits.T)]
    torch.testing.assert_close(masked, sum(ways) / 2)


def test_a_budget_that_cannot_be_read_is_refused():
    with pytest.raises(EmbedfitError, match="is no budget"):
        investigate(builder(), budget="soon")


def judged(code, facts):
    base = {"experiment.control.relative": -0.3, "experiment.chance": 0.02, "experiment.probe": 0.9,
            "experiment.reference": 0.9, "experiment.start": 0.1, "experiment.author": 0.6,
            "experiment.steps": 40}  # fmt: skip
    [check] = select((code,))
    [finding] = settled([examine(check, Run(facts={**base, **facts}))], {**base, **facts})
    return finding, summed_up([finding], {**base, **facts})


def test_frozen_weights_convict_only_where_they_were_tried_and_forgotten_ones_always():
    frozen = {"parameters.forgotten": 0.0, "parameters.frozen": 0.87}
    assert judged("OPT004", frozen)[0].outcome is Outcome.WATCH
    assert judged("OPT004", {"parameters.forgotten": 0.5, "parameters.frozen": 0.0})[0].outcome is Outcome.ISSUE
    costs = {f"experiment.trainable.{k}": v for k, v in (("relative", -0.4), ("low", -0.5), ("high", -0.3))}
    assert judged("OPT004", frozen | costs)[0].outcome is Outcome.ISSUE


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ({"experiment.whole": True}, Outcome.ISSUE),
        ({"experiment.whole": True, "experiment.optimiser.high": -0.07}, Outcome.WATCH),  # perhaps less than a tenth
        ({"experiment.whole": False}, Outcome.WATCH),
        ({"experiment.whole": False, "experiment.author_in_full": 0.7}, Outcome.ISSUE),  # seen to its end
        ({"experiment.whole": False, "experiment.optimiser.relative": -0.3}, Outcome.ISSUE),  # far behind
    ],
)
def test_a_trial_shorter_than_the_run_does_not_convict_a_rate_that_is_only_slower(more, outcome):
    costs = {f"experiment.optimiser.{k}": v for k, v in (("relative", -0.15), ("low", -0.18), ("high", -0.12))}
    rate = {"optimiser.rate": 1e-4, "experiment.rate.times": 10.0, "experiment.rate.share": 1.2}
    assert judged("OPT011", {**rate, **costs, **more})[0].outcome is outcome


def test_a_program_that_was_better_on_the_way_is_not_told_to_keep_going():
    fine = {"experiment.control.relative": 0.0, "experiment.author": 0.9, "overfit.train": 0.99}
    record = Run(facts={**fine, "experiment.course": [[0, 0.1], [20, 0.8], [40, 0.7]]})
    for step in range(40):
        record.history.add(step, {"loss": 2.0 - step / 40})
    [check] = select(("EVA008",))
    facts = {**record.facts, "experiment.reference": 0.9, "experiment.steps": 40, "experiment.chance": 0.02,
             "experiment.probe": 0.9, "experiment.start": 0.1}  # fmt: skip
    verdict, why = summed_up(settled([examine(check, record)], facts), facts)
    assert verdict == "healthy"
    assert "overfitting" in why
    assert "step 20" in why
    assert "keep going" not in why
