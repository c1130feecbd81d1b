"""Recipes: round trips and every error message."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedfit.errors import RecipeError
from embedfit.recipe import Duration, Recipe, build, describe, from_toml, keys, parse_change, patch, to_toml

CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "data.files": st.lists(st.text(), max_size=3),
    "data.columns": st.dictionaries(st.text(), st.text(), max_size=3),
    "data.dev": st.floats(0, 1e6),
    "model.kind": st.text(),
    "model.shared": st.booleans(),
    "model.dimension": st.just("auto") | st.integers(1, 10**6),
    "loss.temperature": st.just("auto") | st.floats(1e-6, 1e3),
    "optim.length": st.sampled_from(["auto", "3 epochs", "1 step", "1e6 examples", " 2.5 epochs "]),
    "optim.seed": st.integers(-(2**60), 2**60),
    "run.precision": st.sampled_from(["auto", "fp32", "bf16"]),
}


@given(st.fixed_dictionaries({}, optional=CHANGES), st.booleans())
def test_a_recipe_survives_its_file(change: dict[str, Any], comments: bool) -> None:
    recipe = patch(Recipe(), change)
    assert build(tomllib.loads(to_toml(recipe, comments=comments))) == recipe


def test_comments_tell_what_every_setting_means(tmp_path: Path) -> None:
    text = to_toml(Recipe(), comments=True)
    for key in keys():
        section, name = key.split(".")
        line = next(line for line in text[text.index(f"[{section}]") :].splitlines() if line.startswith(f"{name} ="))
        assert "# " in line, key
    (tmp_path / "r.toml").write_text(text, "utf-8")
    assert from_toml(tmp_path / "r.toml") == Recipe()


def test_every_setting_is_described_with_its_default() -> None:
    for key in keys():
        assert describe(key).startswith(f"{key}: ")
        assert "(default " in describe(key)
    assert describe("optim.patience").endswith("(default 5)")


@pytest.mark.parametrize("key", ["optim.patienc", "optim", "patience", "", ".", "a.b.c"])
def test_what_is_no_setting_is_not_described(key: str) -> None:
    with pytest.raises(RecipeError, match="there is no setting") as caught:
        describe(key)
    assert "optim.patience" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("change", "said", "hint"),
    [
        ({"optim.patienc": 1}, "there is no setting 'optim.patienc'", "did you mean 'optim.patience'?"),
        ({"optim.patience": 0}, "'optim.patience' got 0; input should be greater than or equal to 1", "optim.patience"),
        ({"optim.weight_decay": -1}, "'optim.weight_decay' got -1", "on weight matrices only"),
        ({"optim.max_gradient_norm": 0}, "'optim.max_gradient_norm' got 0", "longer gradients"),
        ({"optim.schedule": "steps"}, "got 'steps'; input should be 'auto', 'cosine', 'linear'", ""),
        ({"loss.label_smoothing": 1.0}, "'loss.label_smoothing' got 1.0", "share of the target"),
        ({"loss.kind": "triple"}, "'loss.kind' got 'triple'", "the objective"),
        ({"data.kind": "vectors"}, "'data.kind' got 'vectors'", "what a row is"),
        ({"data.dev": -0.1}, "'data.dev' got -0.1", "rows held out"),
        ({"optim.length": "soon"}, "expected a duration such as '3 epochs'", "how long to train"),
        ({"optim.warmup": "6"}, "got '6'", "linear rise"),
        ({"optim.warmup": "200%"}, "expected at most 100% of the run, got '200%'", "linear rise"),
        ({"curriculum.stages": [{"until": "40%"}, {"until": "80%", "batchsize": 8}]},
         "there is no setting 'curriculum.stages[1].batchsize'", "did you mean 'batch_size'?"),
        ({"curriculum.stages": [{"until": "40%", "zzz": 8}]}, "'curriculum.stages[0].zzz'", "until, batch_size, rate"),
        ({"curriculum.stages": [{"until": "40%", "rate": -1}]}, "'curriculum.stages[0].rate' got -1", "for example"),
        ({"run.threads": -1}, "'run.threads' got -1", "CPU threads"),
        ({"optim.learning_rate": "fast"}, "'optim.learning_rate' got 'fast'", "learning-rate test"),
        ({"colour.red": 1}, "there is no setting 'colour.red'", "settings: "),
        ({"optim": 1}, "there is no setting 'optim'", ""),
    ],
)  # fmt: skip
def test_a_change_that_cannot_be_is_refused_with_what_was_expected(
    change: dict[str, Any], said: str, hint: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        patch(Recipe(), change)
    assert said in caught.value.message
    assert hint in str(caught.value.hint)


NUMBERS = ("optim.learning_rate", "optim.batch_size", "loss.temperature", "loss.margin", "model.dimension",
           "model.vocabulary", "model.layers", "model.max_tokens", "optim.average", "model.dropout")  # fmt: skip


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_numbers_without_meaning_are_refused(key: str, value: float) -> None:
    with pytest.raises(RecipeError, match=key):
        patch(Recipe(), {key: value})


@pytest.mark.parametrize(
    "text", ["0 steps", "0 epochs", "1..2 steps", ". steps", "-1 steps", "5%", "1e999 steps", "٣ steps"]
)
def test_lengths_without_meaning_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="expected a duration"):
        patch(Recipe(), {"optim.length": text})


def test_a_run_may_begin_without_a_warmup_but_is_looked_at_now_and_then() -> None:
    assert patch(Recipe(), {"optim.warmup": "0%"}).optim.warmup == "0%"
    for key in ("run.evaluate_every", "run.checkpoint_every"):
        assert patch(Recipe(), {key: "10%"})
        with pytest.raises(RecipeError, match="longer than nothing"):
            patch(Recipe(), {key: "0%"})


def test_a_patch_is_a_copy() -> None:
    recipe = Recipe()
    assert patch(recipe, {"optim.seed": 5}).optim.seed == 5
    assert recipe.optim.seed == 0


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("loss.temperature=0.05", "loss.temperature", 0.05),
        (" optim.seed = 3 ", "optim.seed", 3),
        ("model.shared=false", "model.shared", False),
        ("model.kind=gru", "model.kind", "gru"),
        ("optim.length=3 epochs", "optim.length", "3 epochs"),
        ('data.files=["a=b.csv"]', "data.files", ["a=b.csv"]),
        ("model.kind=a=b", "model.kind", "a=b"),
        ("model.kind=", "model.kind", ""),
    ],
)
def test_changes_are_read_as_toml_or_else_as_text(text: str, key: str, value: object) -> None:
    assert parse_change(text) == (key, value)


def test_a_change_needs_an_equals_sign() -> None:
    with pytest.raises(RecipeError, match=r"expected key=value, got 'optim\.seed'"):
        parse_change("optim.seed")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[optim", "is no TOML file"),
        (b"\xff\xfe", "is no TOML file"),
        (b"[optim]\nseed = 1\nseed = 2", "is no TOML file"),
        (b"[optimm]\nseed = 1", "there is no setting 'optimm'"),
        (b"optim = 3", "'optim' got 3"),
        (b"[optim]\nseed = 'x'", "r.toml: 'optim.seed' got 'x'"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "r.toml").write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        from_toml(tmp_path / "r.toml")
    assert said in caught.value.message
    assert "r.toml" in caught.value.message


def test_no_file_and_a_folder_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe at") as caught:
        from_toml(tmp_path / "r.toml")
    assert "embedfit init" in str(caught.value.hint)
    with pytest.raises(RecipeError, match=r"cannot read '.*': Is a directory"):
        from_toml(tmp_path)


@pytest.mark.parametrize(
    ("text", "steps"),
    [("3 epochs", 30), ("1 epoch", 10), ("0.5 epochs", 5), ("500 steps", 500), ("1 step", 1), ("1e3 examples", 31),
     ("1 example", 1), ("50%", 100), ("0.1%", 0), ("1e2 steps", 100)],
)  # fmt: skip
def test_durations_are_steps(text: str, steps: int) -> None:
    assert Duration.steps(text, steps_per_epoch=10, batch_size=32, total=200) == steps
