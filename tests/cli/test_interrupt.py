"""Ctrl-C in every phase: what is kept, how to go on, no traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import QUICK, again, interrupted_at, stop, typed


@pytest.mark.parametrize("phase", ["embedfit.gathering.read_files", "embedfit.job.prepare", "embedfit.job.audited"])
def test_before_training_nothing_is_written(faq: Path, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    monkeypatch.setattr(phase, stop)
    shown = typed("train", faq, *QUICK)
    assert shown.exit_code == 130, shown.stderr
    assert shown.stderr.splitlines()[-1] == "interrupted: nothing was written"
    assert [p.name for p in Path().iterdir()] == ["faq.csv"]


def test_in_training_the_checkpoint_is_kept_and_the_printed_command_ends_as_if_undisturbed(
    faq: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = ["--set", "run.checkpoint_every=2 steps"]
    with monkeypatch.context() as patch:
        interrupted_at(5, patch)
        shown = typed("train", faq, *QUICK, *often)
    assert shown.exit_code == 130, shown.stderr
    assert "Traceback" not in shown.stderr
    last = shown.stderr.splitlines()[-1]
    assert last == "interrupted: the checkpoint of step 4 is kept; go on with: embedfit train runs/faq-1 --resume"

    refused = typed("train", faq, *QUICK, *often, "--out", "runs/faq-1")
    assert refused.exit_code == 2
    assert "add --resume" in refused.stderr
    resumed = typed(*again(last), "--format", "json")
    assert resumed.exit_code == 0, resumed.stderr
    undisturbed = typed("train", faq, *QUICK, *often, "--format", "json")
    one, other = (json.loads(shown.stdout)["evaluation"] for shown in (resumed, undisturbed))
    assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_resume_with_the_data_alone_finds_the_newest_unfinished_run(faq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupted_at(3, patch)
        typed("train", faq, *QUICK)
        typed("train", faq, *QUICK)
    shown = typed("train", faq, *QUICK, "--resume", "--format", "json")
    assert shown.exit_code == 0, shown.stderr
    assert json.loads(shown.stdout)["run"] == "runs/faq-2"


def test_before_the_first_checkpoint_the_command_begins_again(faq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupted_at(1, patch)
        shown = typed("train", faq, *QUICK, "--out", "my run")
    last = shown.stderr.splitlines()[-1]
    assert "there was no checkpoint yet" in last
    assert again(last) == ["train", "my run", "--resume"]
    assert typed(*again(last)).exit_code == 0


def test_in_evaluation_the_checkpoint_is_kept(faq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("embedfit.job.judge", stop)
        shown = typed("train", faq, *QUICK, "--set", "run.checkpoint_every=1 step")
    assert shown.exit_code == 130, shown.stderr
    last = shown.stderr.splitlines()[-1]
    assert "the checkpoint of step " in last
    assert typed(*again(last)).exit_code == 0


def test_a_command_that_writes_nothing_says_so(faq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedfit.data.audit.audit", stop)
    shown = typed("audit", faq)
    assert shown.exit_code == 130, shown.stderr
    assert shown.stderr.splitlines()[-1] == "interrupted: nothing was written"


def test_encoding_says_which_file_is_there(run: Path, faq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedfit.cli.embedding.build", stop)
    shown = typed("encode", run, faq, "-o", "e.npy", "--index", "ix")
    assert shown.exit_code == 130, shown.stderr
    assert shown.stderr.splitlines()[-1] == "interrupted: e.npy is written, the index in ix is not"
    assert Path("e.npy").is_file()
