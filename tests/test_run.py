"""The run folder: what is refused, what is forgiven, how files are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedfit import run as runs
from embedfit.errors import RecipeError, RunError
from embedfit.recipe import Recipe, to_toml
from embedfit.run import History, Run, load, sweep, write_atomically, write_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder, whole."""
    place = tmp_path / "run"
    write_json(place / "facts.json", {"data.rows": 3})
    write_json(place / "evaluation.json", {"metric": "recall@10", "recall@10": 0.5})
    (place / "recipe.toml").write_text(to_toml(Recipe()))
    (place / "history.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0, "dev/x": null}\n')
    return place


def test_a_run_comes_back_as_it_was_written(folder: Path) -> None:
    run = load(folder)
    assert run.recipe == Recipe()
    assert run.facts == {"data.rows": 3}
    assert run.evaluation["recall@10"] == 0.5
    assert run.history["loss"] == [(1, 2.0), (2, 1.0)]
    assert run.history.last("dev/x") != run.history.last("dev/x")  # null is NaN
    assert (run.samples, run.environment, run.folder) == ({}, {}, folder)
    assert list(run.history) == ["loss", "dev/x"]
    assert "loss" in run.history
    assert "lost" not in run.history


def test_a_run_can_be_made_by_hand() -> None:
    run = Run(facts={"data.rows": 1})
    assert run.folder is None
    assert run.history.readings == {}
    with pytest.raises(KeyError):
        run.history.last("loss")


def test_a_missing_folder_is_answered_with_its_neighbours(folder: Path) -> None:
    with pytest.raises(RunError, match=r"no run folder at '.*first'") as caught:
        load(folder.parent / "first")
    assert caught.value.hint == f"in '{folder.parent}' there are: run"
    with pytest.raises(RunError) as caught:
        load(folder / "no" / "where")
    assert caught.value.hint is None


def test_a_folder_of_something_else_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"is no run folder: it has no recipe\.toml"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["facts.json", "evaluation.json", "samples.json", "environment.json"])
@pytest.mark.parametrize("content", [b'{"half": ', b"\xff\xfe\x00", b"[1, 2]", b"null", b""])
def test_a_broken_file_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(RunError, match=f"{name}' is broken") as caught:
        load(folder)
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"[data", b"\xff", b"[optim]\nlearning_rat = 1\n"])
def test_a_broken_recipe_is_named(folder: Path, content: bytes) -> None:
    (folder / "recipe.toml").write_bytes(content)
    with pytest.raises(RecipeError, match=r"recipe\.toml"):
        load(folder)


@pytest.mark.parametrize("name", ["facts.json", "history.jsonl", "recipe.toml"])
def test_a_file_that_may_not_be_read_is_named(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def refuse(path: Path, *words: object, **more: object) -> object:
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *words, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises((RunError, RecipeError), match=f"cannot read '.*{name}': Permission denied"):
        load(folder)


@pytest.mark.parametrize("tail", [b'{"step": 3, "lo', b'{"step"', b"\xff\xfe", b"12", b'{"loss": 1}', b'{"step": "x"}'])
def test_a_last_line_cut_short_is_not_counted(folder: Path, tail: bytes) -> None:
    with (folder / "history.jsonl").open("ab") as file:
        file.write(tail)
    assert load(folder).history["loss"] == [(1, 2.0), (2, 1.0)]


@pytest.mark.parametrize("line", [b"rubbish", b"[]", b'{"step": 2, "loss": "much"}', b'{"step": 2, "loss": [1]}'])
def test_a_broken_line_in_the_middle_is_named(folder: Path, line: bytes) -> None:
    (folder / "history.jsonl").write_bytes(b'{"step": 1, "loss": 2.0}\n' + line + b'\n{"step": 3, "loss": 1.0}\n')
    with pytest.raises(RunError, match=r"history\.jsonl, line 2: broken"):
        load(folder)


def test_what_fails_half_way_leaves_the_old_file_and_no_debris(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    for error, shown in ((OSError(28, "No space left on device"), RunError), (KeyboardInterrupt(), KeyboardInterrupt)):
        with pytest.raises(shown), write_atomically(path) as part:  # noqa: PT012
            part.write_text("half")
            raise error
        assert path.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_an_error_without_words_of_the_system_is_told_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write '.*x': strange"), write_atomically(tmp_path / "x"):
        raise OSError("strange")


def test_where_nothing_can_be_written_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write '.*file.x'") as caught:
        write_json(tmp_path / "file" / "x", {})
    assert "--out" in str(caught.value.hint)


def test_a_written_file_can_be_read_by_everybody(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"值": 1})
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o644
    assert "值" in (tmp_path / "x.json").read_text("utf-8")


numbers = st.floats(allow_nan=True, allow_infinity=True)
values = st.recursive(numbers | st.text() | st.none(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))


@settings(max_examples=30)
@given(values)
def test_what_is_written_is_always_json_and_only_infinities_and_nan_are_lost(value: object) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "x", value)
        text = (Path(folder) / "x").read_text("utf-8")
    again = json.loads(text, parse_constant=lambda constant: pytest.fail(f"wrote {constant}"))
    assert again == runs._finite(value)
    if "null" not in text:
        assert again == value


def test_sweeping_takes_what_a_killed_process_left_and_nothing_else(tmp_path: Path) -> None:
    own = [
        ".facts.json.a8_dk2qz",
        "checkpoints/.tmp6G4UHe",
        "checkpoints/.last.safetensors.abcdefgh",
        "catalogue/.keys.npy.12345678",
    ]
    others = [".env.training", "facts.json", ".facts.json", "checkpoints/last.safetensors", ".git/config"]
    for name in own + others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / ".model.abcdefgh" / "deep").mkdir(parents=True)
    sweep(tmp_path)
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == set(others)
    assert not (tmp_path / ".model.abcdefgh").exists()


def test_history_keeps_readings_by_name() -> None:
    history = History()
    history.add(1, {"a": 1.0})
    history.add(2, {"a": 2.0, "b": 3.0})
    assert history["a"] == [(1, 1.0), (2, 2.0)]
    assert history.last("b") == 3.0
