"""A student comes near its teacher; a teacher that deserves no student is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spaces import noise, unit
from torch import nn

from embedfit.align import Descent, Teacher, check_teacher, descend, distil
from embedfit.align.distil import TEMPERATURES
from embedfit.align.lesson import divided
from embedfit.errors import DataError, NonFiniteLossError
from embedfit.losses.vectors import MSE, objective
from embedfit.towers import TwoTower, build

WORDS = ["card", "loan", "transfer", "pin", "rate", "fee", "top", "up", "cash", "refund", "abroad", "lost"]
TABLE = unit(noise(len(WORDS), 16, 0))
QUICK = Descent(steps=400, batch_size=32, learning_rate=1e-2, evaluate_every=25)


def taught(n: int = 300, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts of a few words, and a teacher that adds up a vector for each of them."""
    rng = np.random.default_rng(seed)
    rows = [rng.choice(len(WORDS), rng.integers(2, 5), replace=False) for _ in range(n)]
    return [" ".join(WORDS[i] for i in row) for row in rows], unit(np.stack([TABLE[row].sum(0) for row in rows]))


@pytest.mark.parametrize("student", ["static", "gru"])
def test_a_student_comes_near_its_teacher_on_new_texts(student: str) -> None:
    texts, vectors = taught()
    made = distil(texts, vectors, student=student, plan=QUICK)
    assert made.quality.cosine.mean() > 0.7
    assert made.similarity > 0.5
    assert made.curve.held_out[0] < made.curve.held_out[-1]
    assert made.findings == ()
    found = made.to_dict()
    assert found["dimension"] == 16
    assert found["recall@1"] > 0.1


def test_a_student_of_fewer_dimensions_learns_the_strongest() -> None:
    texts, vectors = taught()
    made = distil(texts, vectors, student=build("static", texts, dimension=8), plan=QUICK)
    assert made.model.dimension == 8
    assert made.quality.cosine.mean() > 0.6
    teacher = Teacher(vectors=vectors, encode=lambda words: np.ones((len(words), 16), np.float32)).reduced(8)
    kept, all_of_it = teacher.vectors @ teacher.vectors.T, vectors @ vectors.T
    assert np.corrcoef(kept.ravel(), all_of_it.ravel())[0, 1] > 0.8
    assert teacher.encode is not None
    assert teacher.encode(["card"]).shape == (1, 8)


def test_sub_words_embedded_by_the_teacher_are_a_better_start() -> None:
    texts, vectors = taught()

    def encode(words: list[str]) -> np.ndarray:
        rows = [[TABLE[i] for i, w in enumerate(WORDS) if w in word] for word in words]
        return unit(np.stack([sum(row, np.zeros(16, np.float32)) for row in rows]) + 1e-3)

    plain, started = (distil(texts, Teacher(vectors=vectors, encode=e), plan=QUICK) for e in (None, encode))
    assert started.curve.held_out[0] > plain.curve.held_out[0] + 0.2


def test_a_model_can_be_the_teacher() -> None:
    texts, vectors = taught()
    first = distil(texts, vectors, plan=QUICK).model
    assert isinstance(first, TwoTower)
    second = distil(texts, first, plan=QUICK)
    assert second.quality.cosine.mean() > 0.8


def test_the_temperature_is_the_one_whose_short_run_agrees_best() -> None:
    texts, vectors = taught()
    made = distil(texts, vectors, plan=QUICK)
    assert set(made.temperatures) == set(TEMPERATURES)
    assert made.temperatures[made.temperature] == max(made.temperatures.values())
    fixed = distil(texts, vectors, plan=QUICK, objective=objective("cosine+distribution", temperature=0.3))
    assert (fixed.temperature, fixed.temperatures) == (None, {})


def test_a_translation_lands_on_its_original() -> None:
    texts, vectors = taught()
    other = [" ".join(f"z{WORDS.index(word)}z" for word in text.split()) for text in texts]
    made = distil(texts, vectors, translations=other, plan=QUICK)
    assert made.crossing is not None
    assert made.crossing.recall(1) > 0.5
    assert made.to_dict()["translation/recall@1"] == made.crossing.recall(1)
    assert distil(texts, vectors, plan=QUICK).crossing is None
    with pytest.raises(DataError, match="300 texts and 299 translations"):
        distil(texts, vectors, translations=other[:-1])


def test_a_text_its_repetition_and_its_translations_are_on_one_side() -> None:
    originals = [f"text {i % 40}" for i in range(60)]
    other = [f"wort {i % 30}" for i in range(60)]
    tower = build("static", [*originals, *other], dimension=4)
    lesson = divided([*originals, *other], tower.tokenize([*originals, *other]), noise(60, 4, 0), seed=0)
    side = np.zeros(120, int)
    for number, rows in enumerate((lesson.train, lesson.choice, lesson.test)):
        side[rows] = number
    assert sorted(torch.cat([lesson.train, lesson.choice, lesson.test]).tolist()) == list(range(120))
    assert (side[:60] == side[60:]).all()
    by_text: dict[str, set[int]] = {}
    for text, where in zip([*originals, *other], side, strict=True):
        by_text.setdefault(text, set()).add(int(where))
    assert all(len(where) == 1 for where in by_text.values())
    assert len(lesson.test) > 0


def test_a_teacher_whose_vectors_are_shuffled_is_refused() -> None:
    texts, vectors = taught()
    assert check_teacher(texts, vectors) == []
    with pytest.raises(DataError, match="nothing to do with the words"):
        distil(texts, vectors[np.random.default_rng(0).permutation(len(texts))])


def test_a_teacher_that_tf_idf_beats_on_labels_is_unreliable() -> None:
    texts, vectors = taught()
    labels = np.array([WORDS.index(text.split()[0]) for text in texts])
    first = unit(TABLE[labels] + 0.01 * vectors)
    assert check_teacher(texts, first, labels=labels) == []
    blurred = unit(vectors + 2 * noise(len(texts), 16, 5) / 4)
    found = check_teacher([f"{text} {text.split()[0] * 3}" for text in texts], blurred, labels=labels)
    assert any(f.name == "unreliable_teacher" and "TF-IDF" in f.sentence for f in found)


def test_a_teacher_that_contradicts_itself_is_noisy() -> None:
    texts, vectors = taught()
    twice = [*texts, *(text.upper() for text in texts[:50])]
    assert check_teacher(twice, np.vstack([vectors, vectors[:50]])) == []
    found = check_teacher(twice, np.vstack([vectors, unit(vectors[:50] + noise(50, 16, 6) / 4)]))
    assert [f.name for f in found] == ["noisy_teacher"]


def test_texts_and_vectors_must_be_as_many() -> None:
    texts, vectors = taught(60)
    with pytest.raises(DataError, match="60 texts and 59 vectors"):
        distil(texts, vectors[:59])


def test_descent_keeps_the_best_weights_and_says_when_a_value_was_reached() -> None:
    x = torch.from_numpy(noise(64, 3, 7))
    y = x @ torch.tensor([[1.0, 2.0], [0.0, 1.0], [3.0, -1.0]])
    layer = nn.Linear(3, 2)
    plan = Descent(steps=300, batch_size=16, learning_rate=0.05, evaluate_every=20, weight_decay=0.0)

    def nearness() -> float:
        return -float((layer(x) - y).detach().norm())

    curve = descend(layer, lambda rows: layer(x[rows]), y, MSE(), plan, measure=nearness)
    assert nearness() > -0.1
    assert nearness() == pytest.approx(max(curve.held_out))
    assert curve.first_at(0.5) is None
    assert curve.first_at(-1.0) in curve.steps


def test_a_loss_that_is_not_finite_stops_before_the_weights_move() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    y = torch.full((8, 2), float("nan"))
    with pytest.raises(NonFiniteLossError, match="step 0 is nan"):
        descend(
            layer, lambda rows: layer(torch.ones(len(rows), 2)), y, objective("mse"), Descent(), measure=lambda: 0.0
        )
    torch.testing.assert_close(layer.weight, before)
