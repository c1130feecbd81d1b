from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import polars as pl
import pytest
import torch

from embedfit.errors import DataError, ModelError, NonFiniteLossError
from embedfit.interaction import CrossEncoder, MaxSim, Scorer, fit_scorer, folder, load_scorer, save_scorer
from embedfit.losses import CosineRegression, Diameter, InfoNCE
from embedfit.pairs import Pairs
from embedfit.scores import Scores
from embedfit.towers import Encoder, TwoTower, build, save
from embedfit.types import Tokens

TEXTS = ["my light is broken", "the brake is lost", "how do I repair a light", "how do I replace a brake", "a wheel"]
SCORERS = [CrossEncoder, MaxSim]


def encoder(*, max_tokens: int = 24, dropout: float = 0.1) -> Encoder:
    """A small one."""
    made = build("transformer", TEXTS, dimension=16, layers=1, vocabulary=200, dropout=dropout, max_tokens=max_tokens)
    assert isinstance(made, Encoder)
    return made


@pytest.mark.parametrize("make", SCORERS)
def test_every_query_meets_every_document_as_it_meets_its_own(make: type[Scorer]) -> None:
    scorer = make(encoder()).eval()
    query, document = scorer.tokenize(TEXTS[:2]), scorer.tokenize(TEXTS[2:])
    with torch.no_grad():
        crossed = scorer.crossed(query, document)
        for i in range(2):
            for j in range(3):
                own = scorer.paired(query.select(torch.tensor([i])), document.select(torch.tensor([j])))
                assert float(crossed[i, j]) == pytest.approx(float(own), abs=1e-5)
    assert crossed.abs().max() <= 1


def test_late_interaction_is_the_mean_of_the_nearest_tokens() -> None:
    scorer = MaxSim(encoder(), dimension=8).eval()
    query, document = scorer.tokenize(TEXTS[:1]), scorer.tokenize(TEXTS[3:4])
    with torch.no_grad():
        (q, _), (d, _) = scorer.states(query), scorer.states(document)
        naive = np.mean([max(float(a.double() @ b.double()) for b in d[0]) for a in q[0]])
        # beside a longer text, which fills its row up
        found = scorer.paired(scorer.tokenize([TEXTS[0], TEXTS[2]]), scorer.tokenize([TEXTS[3], TEXTS[4]]))
    assert float(found[0]) == pytest.approx(naive, abs=1e-5)


def test_a_cross_encoder_reads_both_texts_end_to_end() -> None:
    scorer = CrossEncoder(encoder()).eval()
    query, document = scorer.tokenize(TEXTS[:1]), scorer.tokenize(TEXTS[2:3])
    whole = Tokens(torch.cat([query.ids, document.ids]), query.lengths + document.lengths)
    with torch.no_grad():
        wanted = torch.tanh(scorer.head(scorer.encoder(whole)))[0, 0]
        assert float(scorer.paired(query, document)) == pytest.approx(float(wanted), abs=1e-6)


def test_long_texts_share_the_room_of_the_encoder() -> None:
    scorer = CrossEncoder(encoder(max_tokens=10))
    tokens = scorer.tokenize([" ".join(TEXTS), "a"])
    assert tokens.lengths.tolist() == [5, 3]
    assert torch.equal(tokens.ids[:5], scorer.encoder.tokenize([" ".join(TEXTS)]).ids[:5])
    assert np.isfinite(scorer.score([" ".join(TEXTS)], [" ".join(TEXTS)])).all()


@pytest.mark.parametrize("make", SCORERS)
def test_scores_do_not_depend_on_the_batch_and_leave_the_mode_alone(make: type[Scorer]) -> None:
    scorer = make(encoder()).train()
    queries, documents = TEXTS, TEXTS[::-1]
    assert scorer.score(queries, documents) == pytest.approx(scorer.score(queries, documents, batch_size=2), abs=1e-5)
    assert scorer.training
    place, value = scorer.rank(TEXTS[0], TEXTS)[0]
    assert value == pytest.approx(max(scorer.score([TEXTS[0]] * 5, TEXTS)), abs=1e-5)
    assert scorer.score([TEXTS[0]], [TEXTS[place]])[0] == pytest.approx(value, abs=1e-5)


def graded() -> Pairs:
    """Same words or not."""
    rows = [(a, b, float(a == b)) for a in TEXTS for b in TEXTS]
    return Pairs(kind="graded", table=pl.DataFrame(rows, schema=["sentence1", "sentence2", "score"], orient="row"))


@pytest.mark.parametrize("make", SCORERS)
def test_training_tells_equal_texts_from_others(make: type[Scorer]) -> None:
    scorer = make(encoder())
    losses = fit_scorer(scorer, graded(), CosineRegression(), rate=0.01, steps=60, batch_size=25)
    assert np.mean(losses[-5:]) < 0.6 * losses[0]
    assert scorer.training  # as it was


@pytest.mark.parametrize("make", SCORERS)
def test_training_on_pairs_finds_the_document_of_a_query(make: type[Scorer]) -> None:
    pairs = Pairs(kind="pairs", table=pl.DataFrame({"query": TEXTS[:2], "positive": TEXTS[2:4]}))
    scorer = make(encoder(dropout=0.0))
    fit_scorer(scorer, pairs, InfoNCE(0.2), rate=0.003, steps=80, batch_size=2)
    assert [scorer.rank(query, TEXTS[2:4])[0][0] for query in TEXTS[:2]] == [0, 1]


class Cliff(CosineRegression):
    """A finite loss whose slope is not."""

    def forward(self, scores: Scores) -> torch.Tensor:
        return super().forward(scores) + (0 * scores.values.sum()).sqrt()


def test_a_gradient_that_is_not_finite_is_not_applied() -> None:
    scorer = MaxSim(encoder()).eval()
    before = {name: value.clone() for name, value in scorer.state_dict().items()}
    with pytest.raises(NonFiniteLossError, match="gradient of step 0"):
        fit_scorer(scorer, graded(), Cliff(), rate=0.01, steps=2, batch_size=8)
    assert all(torch.equal(value, before[name]) for name, value in scorer.state_dict().items())
    assert not scorer.training  # as it was


def test_a_margin_that_nothing_would_measure_is_refused() -> None:
    pairs = Pairs(kind="pairs", table=pl.DataFrame({"query": TEXTS[:2], "positive": TEXTS[2:4]}))
    with pytest.raises(DataError, match="diameter"):
        fit_scorer(MaxSim(encoder()), pairs, InfoNCE(0.2, margin=Diameter()), rate=0.01, steps=1)


@pytest.mark.parametrize("make", SCORERS)
def test_of_no_documents_none_is_best(make: type[Scorer]) -> None:
    scorer = make(encoder())
    assert scorer.rank(TEXTS[0], []) == []
    assert scorer.score([], []).shape == (0,)


def test_training_depends_on_its_seed_alone() -> None:
    def trained(seed: int) -> list[float]:
        return fit_scorer(MaxSim(encoder()), graded(), CosineRegression(), rate=0.01, steps=3, batch_size=8, seed=seed)

    assert trained(0) == trained(0) != trained(1)


@pytest.mark.parametrize("make", SCORERS)
def test_a_scorer_comes_back_from_its_folder(make: type[Scorer], tmp_path: Path) -> None:
    scorer = make(encoder())
    save_scorer(scorer, tmp_path / "scorer")
    back = load_scorer(tmp_path / "scorer")
    assert type(back) is make
    assert back.score(TEXTS, TEXTS[::-1]) == pytest.approx(scorer.score(TEXTS, TEXTS[::-1]), abs=1e-6)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    save_scorer(CrossEncoder(encoder()), tmp_path / "scorer")
    (tmp_path / "scorer" / "scorer.json").write_text('{"kind": "max_sim", "dimension": 8}', "utf-8")
    with pytest.raises(ModelError, match="of another scorer"):
        load_scorer(tmp_path / "scorer")
    save(TwoTower(encoder()), tmp_path / "model")
    with pytest.raises(ModelError):
        load_scorer(tmp_path / "model")


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ModelError, match="no room"):
        CrossEncoder(encoder(max_tokens=6))
    with pytest.raises(DataError, match="its own document"):
        MaxSim(encoder()).score(TEXTS, TEXTS[:1])
    with pytest.raises(DataError, match="steps"):
        fit_scorer(MaxSim(encoder()), graded(), CosineRegression(), rate=0.01, steps=0)


@pytest.mark.parametrize("make", SCORERS)
def test_what_is_worked_out_beforehand_changes_no_similarity(make: type[Scorer]) -> None:
    scorer = make(encoder()).train()
    ask = scorer.against(TEXTS)
    assert ask(TEXTS[0]) == pytest.approx(scorer.score([TEXTS[0]] * 5, TEXTS), abs=1e-5)
    assert scorer.training
    assert scorer.against([])("a").shape == (0,)


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = MaxSim(encoder(), dimension=8), CrossEncoder(encoder())
    place = tmp_path / "scorer"
    save_scorer(first, place)
    with monkeypatch.context() as patched:
        patched.setattr(folder, "write_weights", Mock(side_effect=OSError(28, "No space left on device")))
        with pytest.raises(ModelError, match="No space left"):
            save_scorer(second, place)
    assert isinstance(load_scorer(place), MaxSim)
    save_scorer(second, place)
    assert isinstance(load_scorer(place), CrossEncoder)
    assert [p.name for p in tmp_path.iterdir()] == ["scorer"]
    save(TwoTower(encoder()), tmp_path / "model")
    with pytest.raises(ModelError, match="is no scorer"):
        save_scorer(second, tmp_path / "model")


@pytest.mark.parametrize("card", ['{"kind": "max_sim"}', '{"kind": "max_sim", "dimension": "8"}', "[]", '{"kind": 3}'])
def test_a_broken_card_is_named(card: str, tmp_path: Path) -> None:
    save_scorer(MaxSim(encoder()), tmp_path / "scorer")
    (tmp_path / "scorer" / "scorer.json").write_text(card, "utf-8")
    with pytest.raises(ModelError, match=r"scorer|dimension"):
        load_scorer(tmp_path / "scorer")
