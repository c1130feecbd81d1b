"""Maps in closed form against textbook solutions, and maps as modules that can be saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import Ridge
from spaces import noise, turned, unit

from embedfit.align.closed import Gram, as_map, canonical, procrustes
from embedfit.align.dependence import distance_correlation, neighbour_overlap
from embedfit.align.descent import Descent
from embedfit.align.maps import learn, low_ranks
from embedfit.align.quality import places, quality
from embedfit.align.spaces import folds_of, ruler_for, space_facts
from embedfit.errors import ModelError
from embedfit.losses.vectors import Euclidean
from embedfit.towers import TwoTower, build, save
from embedfit.towers.vector_map import KINDS, Shape, VectorMap, append_to_model, load_map, save_map


def test_ridge_is_that_of_scikit_learn() -> None:
    x, y = noise(60, 5, 1) + 3, noise(60, 4, 2)
    gram = Gram(x)
    made = gram.ridge(y, 0.1)
    ours = Ridge(alpha=0.1 * gram.values.mean()).fit(x.astype(np.float64), y)
    np.testing.assert_allclose(made(x), ours.predict(x), atol=1e-5)


def test_a_low_rank_map_is_the_best_of_its_rank_on_its_own_pairs() -> None:
    x, y = noise(80, 6, 3), noise(80, 5, 4)
    made = Gram(x).ridge(y, 1e-9, rank=2)
    assert np.linalg.matrix_rank(made.weight, tol=1e-8) == 2
    full = Gram(x).ridge(y, 1e-9)
    cut = np.linalg.svd(full.weight, full_matrices=False)
    naive = (cut[0][:, :2] * cut[1][:2]) @ cut[2][:2]
    centred, middle = x - x.mean(0), y - y.mean(0)
    assert np.square(centred @ made.weight - middle).sum() <= np.square(centred @ naive - middle).sum() + 1e-6


def test_procrustes_finds_turn_scale_and_shift() -> None:
    x = noise(50, 6, 5).astype(np.float64)
    turn = np.linalg.qr(noise(6, 6, 6).astype(np.float64))[0]
    made = procrustes(x.astype(np.float32), (2.5 * x @ turn + 1).astype(np.float32))
    np.testing.assert_allclose(made.weight, 2.5 * turn, atol=1e-5)
    np.testing.assert_allclose(made.bias, 1, atol=1e-5)


@pytest.mark.parametrize(("a", "e"), [(4, 7), (7, 4)])
def test_procrustes_between_dimensions_keeps_directions_orthogonal(a: int, e: int) -> None:
    weight = procrustes(noise(60, a, 7), noise(60, e, 8)).weight
    weight = weight / np.linalg.norm(weight, 2)
    small = weight @ weight.T if a < e else weight.T @ weight
    np.testing.assert_allclose(small, np.eye(min(a, e)), atol=1e-6)


def test_canonical_correlations_are_those_of_scikit_learn_and_vanish_out_of_sample_for_noise() -> None:
    x = noise(400, 3, 9)
    y = np.hstack([x[:, :1] + 0.5 * noise(400, 1, 10), noise(400, 2, 11)]).astype(np.float32)
    ours = canonical((x, y), (x, y), components=2, strength=1e-9)
    a, b = CCA(n_components=2, tol=1e-9, max_iter=5000).fit_transform(x.astype(np.float64), y.astype(np.float64))
    theirs = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(2)]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert abs(canonical((x[:200], y[:200, 1:]), (x[200:], y[200:, 1:])).mean()) < 0.15


def test_distance_correlation_sees_what_no_line_shows_and_not_what_is_not_there() -> None:
    x = noise(200, 1, 12)
    ring = np.hstack([x**2, np.abs(x)]).astype(np.float32)
    own, _, p = distance_correlation(x, ring)
    assert own > 0.1
    assert p < 0.01
    assert distance_correlation(x, noise(200, 2, 13))[2] > 0.01


def test_distance_correlation_equals_a_naive_loop() -> None:
    x, y = noise(12, 2, 14).astype(np.float64), noise(12, 3, 15).astype(np.float64)

    def centred(rows: np.ndarray) -> list[list[float]]:
        n = len(rows)
        d = [[float(np.linalg.norm(a - b)) for b in rows] for a in rows]
        line, total = [sum(row) for row in d], sum(map(sum, d))
        return [
            [0 if i == j else d[i][j] - (line[i] + line[j]) / (n - 2) + total / (n - 1) / (n - 2) for j in range(n)]
            for i in range(n)
        ]

    a, b = np.array(centred(x)), np.array(centred(y))
    expected = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    assert distance_correlation(x.astype(np.float32), y.astype(np.float32), draws=9)[0] == pytest.approx(
        expected, rel=1e-5
    )


def test_neighbours_agree_after_a_turn_and_not_with_another_space() -> None:
    x, y = turned(off=0.0)
    overlap, chance = neighbour_overlap(x, y)
    assert overlap == 1
    assert chance < 0.06
    assert neighbour_overlap(x, noise(400, 12, 16))[0] < 0.06


@pytest.mark.parametrize("cosine", [True, False])
def test_places_are_those_of_a_naive_sort_and_ties_count_against(cosine: bool) -> None:
    pool = unit(noise(9, 3, 17)) if cosine else noise(9, 3, 17)
    found = places(pool + 0.3 * noise(9, 3, 18), pool, np.arange(9), cosine=cosine)
    for i, p in enumerate(pool + 0.3 * noise(9, 3, 18)):
        near = pool @ p if cosine else -np.linalg.norm(pool - p, axis=1)
        assert found[i] == 1 + sum(near > near[i])
    assert places(np.zeros((1, 3), np.float32), pool, np.array([0]), cosine=True).tolist() == [9]


def test_equal_targets_are_one_candidate() -> None:
    pool = np.repeat(unit(noise(5, 3, 19)), 2, axis=0)
    found = quality(pool, pool, np.arange(10), cosine=True)
    assert found.candidates == 5
    assert found.recall(1) == 1
    assert found.to_dict()["relative_l2"] == pytest.approx(0, abs=1e-3)


def test_rows_with_the_same_source_share_a_fold() -> None:
    x = np.repeat(noise(30, 3, 20), 3, axis=0)
    folds = folds_of(x, 4, seed=0).reshape(30, 3)
    assert (folds == folds[:, :1]).all()
    assert set(folds.ravel().tolist()) == {0, 1, 2, 3}


def test_unit_rows_are_measured_by_cosine_and_features_by_scaled_distance() -> None:
    x = noise(100, 3, 21) * np.array([1, 1000, 0], np.float32) + 5
    assert ruler_for(unit(x)).cosine
    stray = unit(x) * np.array([[3]] + [[1]] * (len(x) - 1), np.float32)
    assert ruler_for(stray).cosine  # one row of another length makes no other space
    scaled = ruler_for(x)(x)
    assert np.isfinite(scaled).all()
    np.testing.assert_allclose(scaled.std(0)[:2], 1, atol=0.2)
    assert ruler_for(x, "cosine").cosine


def test_the_facts_of_a_space() -> None:
    rows = np.vstack([unit(noise(50, 4, 22)) @ np.diag([1, 1, 1, 0]).astype(np.float32)] * 2)
    facts = space_facts(rows)
    assert (facts["rows"], facts["dimension"], facts["rank"], facts["distinct"]) == (100, 4, 3, 50)


def made_map(kind: str, *, unit_length: bool = False) -> VectorMap:
    x, y = noise(90, 5, 23), noise(90, 4, 24)
    rank = 2 if kind == "low-rank" else 0
    made = as_map(Gram(x).ridge(y, 0.1, rank), kind, rank=rank, hidden=7 if kind == "mlp" else 0, unit=unit_length)  # type: ignore[arg-type]
    if made.contract is not None:
        torch.nn.init.normal_(made.contract.weight, generator=torch.Generator().manual_seed(0))
    return made.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_comes_back_from_its_folder_as_it_was(tmp_path: Path, kind: str) -> None:
    made, x = made_map(kind), noise(6, 5, 25)
    save_map(made, tmp_path / "map", extra={"why": 1})
    np.testing.assert_array_equal(load_map(tmp_path / "map").map(x), made.map(x))
    save_map(made, tmp_path / "map")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit_length", [True, False])
def test_a_map_between_scaled_spaces_becomes_one_between_the_spaces(kind: str, unit_length: bool) -> None:
    made, raw = made_map(kind, unit_length=unit_length), noise(6, 5, 26)
    mean, spread = noise(1, 5, 27)[0], np.abs(noise(1, 5, 28)[0]) + 0.1
    mean_out, spread_out = noise(1, 4, 29)[0], np.abs(noise(1, 4, 30)[0]) + 0.1
    if unit_length:
        mean_out, spread_out = np.zeros(4), np.ones(4)
    expected = made.map((raw - mean) / spread) * spread_out + mean_out
    made.rescale(source=(mean, spread), target=(mean_out, spread_out))
    np.testing.assert_allclose(made.map(raw), expected, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_as_plain_layers_is_the_same_function(kind: str) -> None:
    made, x = made_map(kind), torch.from_numpy(noise(6, 5, 31))
    out = x
    for dense in made.denses():
        out = dense(out)
    torch.testing.assert_close(out, made(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_an_old_model_with_a_map_behind_it_is_read_by_sentence_transformers(tmp_path: Path, kind: str) -> None:
    texts = ["the quick brown fox", "jumps over", "a lazy dog", "fox and dog"]
    model = TwoTower(build("static", texts, dimension=5))
    save(model, tmp_path / "old")
    made = made_map(kind, unit_length=True)
    append_to_model(made, tmp_path / "old", tmp_path / "new")
    theirs = SentenceTransformer(str(tmp_path / "new"), device="cpu").encode(texts)
    np.testing.assert_allclose(theirs, made.map(model.encode(texts)), atol=1e-5)
    with pytest.raises(ModelError, match="is not empty"):
        append_to_model(made, tmp_path / "old", tmp_path / "new")
    with pytest.raises(ModelError, match="no single model"):
        append_to_model(made, tmp_path, tmp_path / "other")


def test_folders_that_hold_no_map_or_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no map"):
        load_map(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch", "utf-8")
    with pytest.raises(ModelError, match="is left as it is"):
        save_map(made_map("linear"), tmp_path / "mine")
    place = save_map(made_map("linear"), tmp_path / "map")
    (place / "map.json").write_text(
        (place / "map.json").read_text("utf-8").replace('"target": 4', '"target": 5'), "utf-8"
    )
    with pytest.raises(ModelError, match="is broken"):
        load_map(place)
    with pytest.raises(ModelError, match="takes vectors of 5 dimensions, these have 3"):
        made_map("linear").map(noise(2, 3, 0))
    with pytest.raises(ModelError, match="cannot have the sizes"):
        VectorMap(Shape(kind="linear", source=2, target=2, rank=1))


def test_an_orthogonal_map_stays_one_while_it_descends() -> None:
    x, y = turned(n=200, off=0.3)
    made = learn(x, y, "orthogonal", unit=True, descent=(Euclidean(), Descent(steps=30, batch_size=50))).map
    weight = made.linear.weight.detach().double().numpy()
    scale = np.linalg.norm(weight, 2)
    np.testing.assert_allclose(weight @ weight.T, scale**2 * np.eye(12), atol=1e-4)


def test_ranks_worth_trying_take_fewer_numbers_than_the_matrix() -> None:
    assert low_ranks(128, 384) == [4, 8, 16, 32, 64]
    assert low_ranks(6, 6) == []
