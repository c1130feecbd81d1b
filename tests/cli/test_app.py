from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from commands import typed

import embedfit
from embedfit.cli.app import COMMANDS

NAMES = [str(command.name) for command in COMMANDS]


def program(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real program in a process of its own."""
    code = "from embedfit.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True, text=True, check=False, env={**os.environ, **environment}, encoding="utf-8",
    )  # fmt: skip


def test_help_lists_every_command_in_the_order_of_the_work() -> None:
    shown = typed("--help")
    assert shown.exit_code == 0
    listed = [line.split()[0] for line in shown.stdout.split("Commands:")[1].split("\n\n")[0].splitlines() if line]
    assert listed == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(name: str) -> None:
    shown = typed(name, "--help")
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"Usage: embedfit {name}")
    assert len(shown.stdout.splitlines()[2].split()) > 3


def test_help_imports_neither_torch_nor_polars() -> None:
    code = (
        "import sys\nfrom embedfit.cli import main\ntry:\n    main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'polars', 'numpy', 'transformers', 'sklearn', 'faiss', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    for words in (["--help"], ["train", "--help"], ["completion", "bash"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_version_is_that_of_the_package() -> None:
    assert typed("--version").stdout == f"embedfit {embedfit.__version__}\n"


def test_without_a_command_help_goes_to_stderr() -> None:
    shown = typed()
    assert shown.exit_code == 2
    assert shown.stdout == ""
    assert shown.stderr.startswith("Usage: embedfit")


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["trian", "x.csv"], "error: no such command 'trian'", "hint: did you mean 'train'?"),
        (["train", "x.csv", "--modl", "gru"], "error: no such option '--modl'", "'--model'"),
        (["train"], "error: missing argument 'DATA|RECIPE'", "hint: `embedfit train --help`"),
        (["search", "run", "text", "-k", "0"], "error: invalid value for '-k': 0", "hint: `embedfit search --help`"),
        (["train", "x.csv", "--column", "query"], "expected ROLE=NAME, got 'query'", "hint:"),
        (["train", "x.csv", "--model", "statik"], "there is no tower 'statik'; did you mean 'static'?", "hint:"),
    ],
)
def test_a_wrong_command_line_is_named_with_what_was_probably_meant(words: list[str], said: str, hint: str) -> None:
    shown = typed(*words)
    assert shown.exit_code == 2
    assert shown.stdout == ""
    first, second = shown.stderr.strip().splitlines()
    assert said in first
    assert first.startswith("error: ")
    assert second.startswith("hint: ")
    assert hint in second


def test_what_embedfit_refuses_is_an_error_and_a_hint_without_a_traceback(faq: Path) -> None:
    shown = typed("audit", "fak.csv")
    assert shown.exit_code == 2
    assert shown.stderr == "error: there is no file or folder 'fak.csv'\nhint: did you mean 'faq.csv'?\n"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: object, **more: object) -> None:
        raise ZeroDivisionError("nothing to divide")

    monkeypatch.setattr("embedfit.run.load", fail)


def test_an_unexpected_exception_is_called_a_defect(broken: None) -> None:
    shown = typed("diagnose", "run")
    assert shown.exit_code == 2
    assert shown.stderr.startswith("error: ZeroDivisionError: nothing to divide. This is a defect of embedfit\nhint: ")
    assert embedfit.__version__ in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("asked", [{"words": ["--traceback"]}, {"environment": {"EMBEDFIT_TRACEBACK": "1"}}])
def test_the_traceback_is_shown_when_asked_for(broken: None, asked: dict) -> None:
    shown = typed(*asked.get("words", []), "diagnose", "run", **asked.get("environment", {}))
    assert shown.exit_code == 2
    assert "Traceback (most recent call last)" in shown.stderr
    assert "This is a defect" in shown.stderr


def test_a_closed_pipe_ends_the_program_in_silence() -> None:
    code = "from embedfit.cli import main; main()"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, "explain", "--format", "json"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 0


def test_characters_that_the_terminal_lacks_are_escaped() -> None:
    done = program("audit", "缺.csv", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "\\u7f3a.csv" in done.stderr


def test_colour_is_for_terminals_and_never_under_no_color() -> None:
    words = ["audit", "nowhere.csv"]
    assert "\x1b[" not in typed(*words).stderr
    assert "\x1b[" in typed(*words, FORCE_COLOR="1", TERM="xterm").stderr
    assert "\x1b[" not in typed(*words, FORCE_COLOR="1", TERM="xterm", NO_COLOR="1").stderr


def test_json_has_no_nan_and_keeps_chinese() -> None:
    from embedfit.cli import terminal

    @click.command()
    def show() -> None:
        terminal.print_json({"值": [float("nan"), 1.5, None], "more": ("好", True)})

    from click.testing import CliRunner

    text = CliRunner().invoke(show).stdout
    assert json.loads(text) == {"值": [None, 1.5, None], "more": ["好", True]}
    assert "好" in text
