"""`embedfit align`, as it is typed: spaces that map, spaces that do not, an index moved, a student, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import typed

from embedfit.align.vocabulary import VOCABULARY


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`old.npy` and `new.npy`, a turn of it, in the current folder; short trials."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("embedfit.align.exam.STEPS", 40)
    monkeypatch.setattr("embedfit.align.maps.HIDDEN", 32)
    rng = np.random.default_rng(0)
    old = unit(rng.standard_normal((300, 8)))
    np.save("old.npy", old)
    np.save("new.npy", unit(old @ np.linalg.qr(rng.standard_normal((8, 8)))[0] + 0.02 * rng.standard_normal((300, 8))))
    np.save("label.npy", np.arange(300) % 5)
    return tmp_path


def test_a_map_is_found_saved_and_applied(spaces: Path) -> None:
    found = typed("align", "old.npy", "new.npy", "-o", "map", "--labels", "label.npy")
    assert found.exit_code == 0, found.stderr
    assert "an orthogonal map is enough" in found.stdout
    assert "same label @1" in found.stdout
    moved = typed("align", "old.npy", "moved.npy", "--apply", "map")
    assert moved.exit_code == 0, moved.stderr
    assert "300 vectors of 8 dimensions" in moved.stdout
    assert "new on migrated" in moved.stdout
    assert (np.load("moved.npy") * np.load("new.npy")).sum(1).mean() > 0.99
    again = typed("align", "old.npy", "moved.npy", "--apply", "map")
    assert again.exit_code == 2
    assert "left as it is" in again.stderr


def test_shuffled_rows_are_refused_with_exit_status_1(spaces: Path) -> None:
    np.save("shuffled.npy", np.load("new.npy")[np.random.default_rng(1).permutation(300)])
    found = typed("align", "old.npy", "shuffled.npy", "-o", "map", "--format", "json")
    assert found.exit_code == 1
    said = json.loads(found.stdout)
    assert said["exists"] is False
    assert said["fit"] is None
    assert not Path("map").exists()


def test_two_models_and_texts(spaces: Path) -> None:
    words = ["card", "loan", "pin", "fee", "rate", "cash", "visa", "lost", "swift", "iban"]
    texts = [f"{a} {b} {c}" for a in words for b in words for c in ("now", "later", "never") if a != b]
    Path("texts.txt").write_text("\n".join(texts), "utf-8")
    drawn = np.random.default_rng(2).standard_normal((13, 6))
    of_word = dict(zip([*words, "now", "later", "never"], drawn, strict=True))
    np.save("teacher.npy", unit(np.stack([sum(of_word[word] for word in text.split()) for text in texts])))
    for name in ("a", "b"):
        made = typed("align", "texts.txt", "teacher.npy", "--student", "static", "-o", name)
        assert made.exit_code == 0, made.stderr
        assert "cosine with the teacher" in made.stdout
    found = typed("align", "a", "b", "--texts", "texts.txt", "-o", "map")
    assert found.exit_code == 0, found.stderr
    assert Path("map/model/modules.json").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("old.npy", "none.npy"), "there is no file"),
        (("old.npy", "."), "is a folder and no file of vectors"),
        (("old.npy", "old.txt"), "vectors are read from"),
        (("old.npy", "new.npy", "--objective", "euclid"), "did you mean 'euclidean'?"),
        (("old.npy", "new.npy", "--labels", "few.npy"), "3 labels for 300 rows"),
        (("old.npy", "short.npy"), "300 rows, short.npy 3"),
        (("broken.npy", "broken.npy"), "row 5 is not finite"),
        (("old.npy", "out.npy", "--apply", "nowhere"), "holds no map"),
        (("old.npy", "new.npy", "--student", "static", "-o", "x"), "'old.npy' is not known from its name"),
        (("texts.txt", "new.npy", "--student", "tiny", "-o", "x"), "built from scratch"),
        (("texts.txt", "new.npy", "--student", "gru"), "not saved"),
        (("texts.txt", "new.npy", "--student", "gru", "--map", "mlp"), "--map has no effect with --student"),
        (("old.npy", "new.npy", "--dimension", "4"), "--dimension needs --student"),
    ],
)
def test_bad_input_is_refused_in_words(spaces: Path, words: tuple[str, ...], said: str) -> None:
    np.save("few.npy", np.arange(3))
    np.save("short.npy", np.ones((3, 8), np.float32))
    broken = np.load("old.npy")
    broken[5, 1] = np.nan
    np.save("broken.npy", broken)
    Path("texts.txt").write_text("a\nb\n", "utf-8")
    found = typed("align", *words)
    assert found.exit_code == 2
    assert said in found.stderr
    assert "defect of embedfit" not in found.stderr
    assert "hint:" in found.stderr


def test_bad_rows_are_left_out_and_counted_where_asked(spaces: Path) -> None:
    broken = np.load("old.npy")
    broken[5, 1] = np.nan
    np.save("broken.npy", broken)
    found = typed("align", "broken.npy", "new.npy", "--on-bad-rows", "skip", "--labels", "label.npy")
    assert found.exit_code == 0, found.stderr
    assert "1 rows were left out" in found.stderr


@pytest.mark.parametrize("name", ["unreachable_target", "noisy_teacher"])
def test_a_finding_is_explained_by_its_name(name: str) -> None:
    said = typed("explain", name)
    assert said.exit_code == 0, said.stderr
    assert VOCABULARY[name].what in said.stdout
    assert VOCABULARY[name].do in said.stdout


def test_a_student_of_scores_and_one_of_two_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    words = ["card", "loan", "pin", "fee", "rate", "cash", "visa", "lost"]
    of_word = dict(zip(words, rng.standard_normal((8, 6)), strict=True))
    texts = [" ".join(rng.choice(words, 3, replace=False)) for _ in range(240)]
    vectors = unit(np.stack([sum(of_word[word] for word in text.split()) for text in texts]))
    np.save("teacher.npy", vectors)
    Path("texts.txt").write_text("\n".join(texts), "utf-8")
    Path("other.txt").write_text("\n".join(" ".join(f"z{w}z" for w in t.split()) for t in texts), "utf-8")
    words_ = ("align", "texts.txt", "teacher.npy", "--student", "static", "--translations", "other.txt")
    two = typed(*words_, "--dimension", "4", "-o", "two")
    assert two.exit_code == 0, two.stderr
    assert "4 dimensions" in two.stdout
    assert "translations find their original first" in two.stdout
    rows = [(texts[i], texts[j], float(vectors[i] @ vectors[j])) for i in range(40) for j in range(40, 240, 20)]
    lines = ["query\tdocument\tscore", *(f"{q}\t{d}\t{s:.4f}" for q, d, s in rows)]
    Path("scores.tsv").write_text("\n".join(lines), "utf-8")
    Path("known.txt").write_text("\n".join(str(int(s > 0.7)) for _, _, s in rows), "utf-8")
    words_ = ("align", "texts.txt", "scores.tsv", "--student", "static", "--labels", "known.txt")
    made = typed(*words_, "-o", "small", "--format", "json")
    assert made.exit_code == 0, made.stderr
    said = json.loads(made.stdout)
    assert said["agreement"] > 0
    assert said["temperatures"][f"{said['temperature']:g}"] == max(said["temperatures"].values())
    refused = typed(*words_, "-o", "again", "--objective", "mse")
    assert refused.exit_code == 2
    assert "no effect where the teacher is a table of scores" in refused.stderr
