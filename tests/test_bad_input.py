"""What users bring: through Python and through the command line, never a traceback, never half a run.

`tests/data` and `tests/cli` cover the reading of broken tables and Ctrl-C before and in training; here the whole job.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import embedfit as ef
from embedfit.cli.app import app
from embedfit.errors import EmbedfitError

QUICK = {
    "model.kind": "static", "model.dimension": 8, "optim.length": "4 steps", "optim.batch_size": 16,
    "optim.learning_rate": 0.01, "run.threads": 1, "run.checkpoint_every": "1 step",
}  # fmt: skip
AS_TYPED = [word for key, value in QUICK.items() for word in ("--set", f"{key}={value}")]
THINGS = ("battery", "light", "brake", "wheel", "saddle", "chain")
FAQ = [(f"{how} {x} is broken", f"How do I repair the {x}?") for x in THINGS for how in ("my", "the", "help", "oh a")]


def typed(*words: str | Path) -> Result:
    """What `embedfit WORDS...` writes and how it ends."""
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="embedfit")


def table(columns: str, rows: Iterable[tuple[object, ...]]) -> bytes:
    """A CSV file."""
    lines = [columns, *(",".join(f'"{cell}"' for cell in row) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


GRADED = [(q, d, i % 5) for i, (q, d) in enumerate(FAQ)]
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "is empty"),
    "header only": (b"question,answer\n", "no rows"),
    "one row": (table("question,answer", FAQ[:1]), "1 row"),
    "all rows equal": (table("question,answer", FAQ[:1] * 30), "nothing to tell apart"),
    "one class": (table("text,label", [(q, "broken") for q, _ in FAQ]), "nothing to tell apart"),
    "equal scores": (table("sentence1,sentence2,score", [(q, d, 3) for q, d in FAQ]), "nothing to order"),
    "wrong encoding": ("question,answer\nWie heißt du?,Müller\n".encode("latin-1"), "utf-8"),
    "no text at all": (bytes(range(256)) * 40, ""),
    "ragged rows": (table("question,answer", FAQ) + b"one,two,three,four\n", "line 26"),
    "a missing column": (table("question,colour", FAQ), "colour"),
    "scores that are no numbers": (table("sentence1,sentence2,score", [*GRADED, ("a", "b", "nan")]), "line 26"),
    "scores that are infinite": (table("sentence1,sentence2,score", [*GRADED, ("a", "b", "inf")]), "line 26"),
    "scores that are words": (table("sentence1,sentence2,score", [*GRADED, ("a", "b", "much")]), "line 26"),
    "an empty cell": (table("question,answer", [*FAQ, ("why", "")]), "line 26"),
    "weights of nothing": (table("question,answer,weight", [(*row, 0) for row in FAQ]), "weight"),
    "negative weights": (table("question,answer,weight", [*((*row, 1) for row in FAQ), ("a", "b", -1)]), "weight"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_on_is_refused_by_both_interfaces_and_nothing_is_left(tmp_path: Path, case: str) -> None:
    content, said = REFUSED[case]
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(EmbedfitError) as caught:
        ef.fit(str(tmp_path / "x.csv"), out=tmp_path / "python", settings=QUICK)
    assert said.lower() in caught.value.message.lower()
    assert caught.value.hint

    shown = typed("train", tmp_path / "x.csv", "--out", tmp_path / "typed", *AS_TYPED)
    assert shown.exit_code == 2, shown.stderr
    expected = ["error: " + caught.value.message, *([f"hint: {caught.value.hint}"] if caught.value.hint else [])]
    assert shown.stderr.splitlines()[-len(expected) :] == expected
    assert "Traceback" not in shown.stderr
    assert shown.stdout == ""
    # a second run in the same folder is not tripped up by the first
    (tmp_path / "x.csv").write_bytes(table("question,answer", FAQ))
    for folder in ("python", "typed"):
        again = typed("train", tmp_path / "x.csv", "--out", tmp_path / folder, *AS_TYPED)
        assert again.exit_code == 0, again.stderr


TAKEN: dict[str, tuple[bytes, str]] = {
    "two rows": (table("question,answer", FAQ[::12]), "no held-out metric"),
    "duplicate rows": (table("question,answer", FAQ * 3), "repeat"),
    "one example per class": (table("text,label", [(q, f"class {i}") for i, (q, _) in enumerate(FAQ)]), ""),
    "one text in two classes": (table("text,label", [*FAQ, ("my light is broken", "other")] * 2), ""),
    "texts of one character": (table("question,answer", [(chr(97 + i % 26), chr(65 + i // 2)) for i in range(40)]), ""),
    "emoji and controls": (table("question,answer", [(f"\U0001f600 {i}", f"\x01 {i // 2}") for i in range(40)]), ""),
    "formulas and markup": (table("question,answer", [(f"=1+{i}", f"<script>{i // 2} [b]") for i in range(40)]), ""),
}  # fmt: skip


@pytest.mark.parametrize("case", TAKEN)
@pytest.mark.parametrize("model", ["static", "ngram"])
def test_what_is_odd_but_can_be_trained_on_is(tmp_path: Path, case: str, model: str) -> None:
    content, said = TAKEN[case]
    (tmp_path / "x.csv").write_bytes(content)
    settings = [*AS_TYPED, "--set", f"model.kind={model}"]
    shown = typed("train", tmp_path / "x.csv", "--out", tmp_path / "run", *settings)
    assert shown.exit_code == 0, shown.stderr
    assert said in shown.stderr
    found = typed("search", tmp_path / "run", "my light is broken")
    assert found.exit_code in (0, 1), found.stderr
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "<script>1" not in page


@pytest.mark.slow
@pytest.mark.parametrize("text", ["word " * 200_000, "\u4e00\u4e8c" * 500_000, "ab" * 500_000])
@pytest.mark.parametrize("model", ["static", "ngram"])
def test_a_very_long_text_is_cut_not_choked_on(tmp_path: Path, model: str, text: str) -> None:
    (tmp_path / "x.csv").write_bytes(table("question,answer", [*FAQ, (text, "long")]))
    settings = [*AS_TYPED, "--set", f"model.kind={model}"]
    shown = typed("train", tmp_path / "x.csv", "--out", tmp_path / "run", *settings)
    assert shown.exit_code == 0, shown.stderr
    assert (tmp_path / "run" / "report.html").stat().st_size < 2_000_000


def test_texts_without_a_word_are_refused_or_trained_on(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(table("question,answer", [("?" * (1 + i), "!" * (1 + i // 2)) for i in range(40)]))
    for model in ("static", "ngram"):
        settings = [*AS_TYPED, "--set", f"model.kind={model}"]
        shown = typed("train", tmp_path / "x.csv", "--out", tmp_path / model, *settings)
        assert shown.exit_code in (0, 2)
        assert "defect" not in shown.stderr


def test_the_learning_rate_test_takes_two_rows(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(table("question,answer", FAQ[::12]))
    shown = typed(
        "train", tmp_path / "x.csv", "--out", tmp_path / "run", *AS_TYPED, "--set", "optim.learning_rate=auto"
    )
    assert shown.exit_code == 0, shown.stderr


def test_texts_that_no_file_can_hold_are_refused_or_written(tmp_path: Path) -> None:
    rows = [{"question": f"a lone surrogate \ud83d {i}", "answer": f"no {i // 2}"} for i in range(20)]
    with pytest.raises(EmbedfitError) as caught:
        ef.read(rows)
    assert caught.value.hint
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "x.jsonl").write_text(lines)
    shown = typed("train", tmp_path / "x.jsonl", "--out", tmp_path / "run", *AS_TYPED)
    assert shown.exit_code in (0, 2)
    assert "defect" not in shown.stderr


def test_held_out_rows_that_are_the_training_rows_are_measured_and_the_leak_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(table("question,answer", FAQ))
    shown = typed("train", tmp_path / "x.csv", "--dev", tmp_path / "x.csv", "--out", tmp_path / "run", *AS_TYPED)
    assert shown.exit_code == 0, shown.stderr
    assert "leak" in shown.stderr.lower() or "also in" in shown.stderr.lower()
    rows = ef.read(str(tmp_path / "x.csv"))
    run = ef.fit(rows, dev=rows, out=tmp_path / "python", settings=QUICK)
    assert run.facts["data.leakage"] == 1.0


def test_held_out_rows_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(table("question,answer", FAQ))
    (tmp_path / "dev.csv").write_bytes(table("text,label", FAQ))
    shown = typed("train", tmp_path / "x.csv", "--dev", tmp_path / "dev.csv", "--out", tmp_path / "run", *AS_TYPED)
    assert shown.exit_code == 2
    assert "kind 'classes'" in shown.stderr
    assert "defect" not in shown.stderr
    with pytest.raises(EmbedfitError, match=r"of kind 'pairs', held-out rows of (kind )?'classes'"):
        ef.fit(str(tmp_path / "x.csv"), dev=str(tmp_path / "dev.csv"), out=tmp_path / "python", settings=QUICK)


@pytest.mark.slow
def test_a_hundred_thousand_classes_of_one_row_each_are_trained_or_refused_in_seconds(tmp_path: Path) -> None:
    rows = [(f"thing number {i}", f"class {i}") for i in range(100_000)]
    (tmp_path / "x.csv").write_bytes(table("text,label", rows))
    few = ["--set", "optim.length=2 steps", "--set", "run.checkpoint_every=auto"]
    shown = typed("train", tmp_path / "x.csv", "--out", tmp_path / "run", *AS_TYPED, *few)
    assert shown.exit_code in (0, 2), shown.stderr
    assert "defect" not in shown.stderr
    if shown.exit_code == 0:
        assert json.loads((tmp_path / "run/facts.json").read_text())["data.classes"] > 90_000


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests spoil copies of it."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "faq.csv").write_bytes(table("question,answer", FAQ))
    done = typed("train", folder / "faq.csv", "--out", folder / "run", *AS_TYPED)
    assert done.exit_code == 0, done.stderr
    return folder / "run"


@pytest.fixture
def spoilt(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path: Path) -> None:
    path.write_bytes(b"\xff\x00 rubbish")


SPOILING: list[tuple[str, Callable[[Path], None], list[str]]] = [
    (name, how, commands)
    for name, commands in {
        "recipe.toml": ["search", "diagnose", "report"],
        "facts.json": ["search", "diagnose", "report"],
        "evaluation.json": ["search", "diagnose", "report"],
        "model/embedfit.json": ["search", "evaluate", "encode"],
        "model/model.safetensors": ["search", "evaluate", "encode"],
        "catalogue/catalogue.json": ["search"],
        "catalogue/keys.npy": ["search"],
        "catalogue/owner.npy": ["search"],
        "catalogue/candidates.parquet": ["search"],
    }.items()
    for how in (cut, overwritten, Path.unlink)
]


@pytest.mark.parametrize(("name", "how", "commands"), SPOILING, ids=lambda x: getattr(x, "__name__", None) or str(x))
def test_a_run_folder_that_is_not_whole_is_an_error_that_names_what(
    spoilt: Path, name: str, how: Callable[[Path], None], commands: list[str]
) -> None:
    files = [spoilt / name] if (spoilt / name).is_file() else sorted(spoilt.rglob(Path(name).name))
    assert files, name
    how(files[0])
    faq = spoilt.parent / "faq.csv"
    faq.write_bytes(table("question,answer", FAQ))
    more = {"search": ["my light"], "evaluate": [str(faq)], "encode": [str(faq), "-o", str(spoilt.parent / "e.npy")]}
    for command in commands:
        shown = typed(command, spoilt, *more.get(command, []))
        assert shown.exit_code in (0, 1, 2)
        assert "defect" not in shown.stderr, shown.stderr
        assert "Traceback" not in shown.stderr
        assert (shown.exit_code == 2) == ("error: " in shown.stderr)
        if command == "encode":
            assert (spoilt.parent / "e.npy").exists() == (shown.exit_code == 0)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(table("question,answer", FAQ))
    mine = tmp_path / "project"
    (mine / "checkpoints").mkdir(parents=True)
    (mine / "checkpoints" / "years of work").write_text("precious")
    for more in ([], ["--resume"]):
        shown = typed("train", tmp_path / "x.csv", "--out", mine, *AS_TYPED, *more)
        assert shown.exit_code == 2
        assert shown.stderr.splitlines()[-2:] == [
            f"error: '{mine}' is not empty and holds no run", "hint: choose another folder with --out",
        ]  # fmt: skip
    with pytest.raises(EmbedfitError, match="is not empty and holds no run"):
        ef.fit(str(tmp_path / "x.csv"), out=mine, settings=QUICK)
    assert [p.name for p in mine.iterdir()] == ["checkpoints"]
    assert (mine / "checkpoints" / "years of work").read_text() == "precious"
    (tmp_path / "file").write_text("mine")
    shown = typed("train", tmp_path / "x.csv", "--out", tmp_path / "file", *AS_TYPED)
    assert shown.exit_code == 2
    assert "cannot make" in shown.stderr
    assert (tmp_path / "file").read_text() == "mine"


def press_ctrl_c(*words: Any, **more: Any) -> None:
    raise KeyboardInterrupt


PHASES = {
    "dividing": "embedfit.gathering.divide",
    "rate test": "embedfit.engine.rate.accumulated",
    "first evaluation": "embedfit.judging.evaluate_bare",
    "training": "embedfit.engine.loop.accumulated",
    "writing a checkpoint": "embedfit.engine.checkpoint.save_file",
    "evaluating": "embedfit.judging.evaluate",
    "writing the model": "embedfit.towers.folder._write",
    "writing the catalogue": "embedfit.job.catalogues.save",
    "writing facts": "embedfit.job.runs.write_json",
    "writing the report": "embedfit.report.write",
}


@pytest.mark.parametrize("phase", PHASES)
def test_after_ctrl_c_in_any_phase_the_printed_command_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    (tmp_path / "x.csv").write_bytes(table("question,answer", FAQ))
    words = ["train", tmp_path / "x.csv", *AS_TYPED, "--set", "optim.learning_rate=auto", "--out"]
    with monkeypatch.context() as patch:
        patch.setattr(PHASES[phase], press_ctrl_c)
        shown = typed(*words, tmp_path / "one")
    assert shown.exit_code == 130, shown.stderr
    last = shown.stderr.splitlines()[-1]
    assert last.startswith("interrupted: ")
    assert "Traceback" not in shown.stderr
    assert not (tmp_path / "one" / "evaluation.json").exists()
    if (tmp_path / "one").exists():
        assert not list((tmp_path / "one").rglob(".*"))
    shown = typed(*words, tmp_path / "one", *(["--resume"] if (tmp_path / "one").exists() else []))
    assert shown.exit_code == 0, shown.stderr
    assert typed(*words, tmp_path / "other").exit_code == 0
    one, other = ((tmp_path / name / "history.jsonl").read_bytes() for name in ("one", "other"))
    assert one == other


def test_resuming_with_other_settings_leaves_the_recipe_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.csv").write_bytes(table("question,answer", FAQ))
    words = ["train", tmp_path / "x.csv", *AS_TYPED, "--out", tmp_path / "run"]
    with monkeypatch.context() as patch:
        patch.setattr("embedfit.job.judge", press_ctrl_c)
        assert typed(*words).exit_code == 130
    before = (tmp_path / "run" / "recipe.toml").read_text()
    shown = typed(*words, "--resume", "--set", "optim.seed=5")
    assert shown.exit_code == 2
    assert "belongs to other data or other settings" in shown.stderr
    assert (tmp_path / "run" / "recipe.toml").read_text() == before
    assert typed("train", tmp_path / "run", "--resume").exit_code == 0


def test_resuming_with_other_held_out_rows_leaves_the_recipe_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rows in {"x": FAQ, "dev": FAQ[::5], "other": FAQ[::7]}.items():
        (tmp_path / f"{name}.csv").write_bytes(table("question,answer", rows))
    words = ["train", tmp_path / "x.csv", *AS_TYPED, "--out", tmp_path / "run", "--dev", tmp_path / "dev.csv"]
    with monkeypatch.context() as patch:
        patch.setattr("embedfit.job.judge", press_ctrl_c)
        assert typed(*words).exit_code == 130
    before = (tmp_path / "run" / "recipe.toml").read_text()
    held_out = (tmp_path / "dev.csv").read_bytes()
    (tmp_path / "dev.csv").write_bytes((tmp_path / "other.csv").read_bytes())  # same settings, other rows
    shown = typed(*words, "--resume")
    assert shown.exit_code == 2
    assert "belongs to other held-out rows" in shown.stderr
    assert "hint: go on with the held-out rows of that run" in shown.stderr
    assert (tmp_path / "run" / "recipe.toml").read_text() == before
    (tmp_path / "dev.csv").write_bytes(held_out)
    assert typed(*words, "--resume").exit_code == 0
