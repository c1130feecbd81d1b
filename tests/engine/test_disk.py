"""A disk that is full: nothing written before is lost."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from little import left_behind, recipe, rows, setup

import embedfit as ef
from embedfit.engine import checkpoint
from embedfit.engine.checkpoint import Checkpoint
from embedfit.engine.embed import seeded
from embedfit.engine.fit import fit
from embedfit.engine.journal import Journal
from embedfit.errors import EmbedfitError, RunError


def full(*words: Any, **more: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def state(size: int) -> Checkpoint:
    return Checkpoint(values={"step": size}, tensors={"model/a": torch.ones(size)})


def write_on_a_small_disk(folder: Path, answer: Any) -> None:
    """In a process that may write no file longer than 20 kB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        checkpoint.save(folder / "last.safetensors", state(100_000))
    except RunError as error:
        answer.put((error.message, error.hint))


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    checkpoint.save(path, state(10))
    before = path.read_bytes()
    context = multiprocessing.get_context("forkserver")
    answer = context.Queue()
    process = context.Process(target=write_on_a_small_disk, args=(tmp_path, answer))
    process.start()
    message, hint = answer.get(timeout=60)
    process.join(60)
    assert process.exitcode == 0
    assert message.startswith(f"cannot write '{path}': ")
    assert "File too large" in message
    assert "free space, then --resume" in hint
    assert path.read_bytes() == before
    assert left_behind(tmp_path) == []


def test_training_on_a_disk_that_fills_up_goes_on_from_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quietly(**more: Any) -> Any:
        return fit(setup(), measure=lambda model: {}, progress=lambda *words: None, **more)

    path = tmp_path / "one" / "checkpoints" / "last.safetensors"
    calls, real = [], checkpoint.save_file

    def fills_up(*words: Any, **more: Any) -> None:
        calls.append(1)
        return full() if len(calls) > 4 else real(*words, **more)

    monkeypatch.setattr(checkpoint, "save_file", fills_up)
    with pytest.raises(RunError, match="No space left on device") as caught:
        quietly(folder=tmp_path / "one")
    assert caught.value.hint == "nothing was lost: free space, then --resume"
    assert checkpoint.values_of(path)["step"] == 4
    monkeypatch.undo()
    one, other = quietly(folder=tmp_path / "one", resume=True), quietly(folder=tmp_path / "other")
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert (tmp_path / "one/history.jsonl").read_bytes() == (tmp_path / "other/history.jsonl").read_bytes()


@pytest.mark.parametrize(
    "place",
    ["embedfit.towers.folder._write", "embedfit.evaluate.catalogue.np.save", "pathlib.Path.write_text"],
)
def test_a_disk_that_is_full_at_the_end_of_the_job_leaves_a_run_to_go_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    real = Path.write_text
    # the first text after training is facts.json
    late = {"pathlib.Path.write_text": lambda p, *w, **m: full() if "facts" in p.name else real(p, *w, **m)}
    with monkeypatch.context() as patch:
        patch.setattr(place, late.get(place, full))
        with pytest.raises(EmbedfitError, match="No space left on device") as caught:
            ef.fit(rows("pairs"), recipe=recipe(), out=tmp_path)
    assert caught.value.hint
    assert checkpoint.values_of(tmp_path / "checkpoints" / "last.safetensors")["step"] == 9
    assert left_behind(tmp_path) == []
    done = ef.fit(rows("pairs"), recipe=recipe(), out=tmp_path, resume=True)
    assert done.evaluation["recall@10"] > 0
    assert len(done.history["loss"]) == 9


def test_history_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "history.jsonl", keep_until=0)
    journal.add(1, {"loss": 1.0})
    (tmp_path / "history.jsonl").unlink()
    (tmp_path / "history.jsonl").mkdir()
    with pytest.raises(RunError, match="cannot write") as caught:
        journal.flush()
    assert "free space" in str(caught.value.hint)


def test_a_journal_is_cut_back_to_its_checkpoint_and_broken_lines_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2}\n{"loss": 1}\n7\n{"step": 3, "loss": 1.0}\n{"step": 2, "lo')
    Journal(path, keep_until=2)
    assert path.read_text() == '{"step": 1, "loss": 2.0}\n{"step": 2}\n'
    Journal(path, keep_until=0)
    assert path.read_text() == ""


def test_readings_that_are_no_numbers_are_null_in_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "history.jsonl", keep_until=0)
    journal.add(1, {"loss": 1.0, "gradient_norm": float("inf"), "x": float("nan")})
    journal.flush()
    assert json.loads((tmp_path / "history.jsonl").read_text(), parse_constant=pytest.fail) == {
        "step": 1, "loss": 1.0, "gradient_norm": None, "x": None,
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\x00" * 300])
def test_a_broken_checkpoint_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(content)
    with pytest.raises(RunError, match="is no checkpoint") as caught:
        checkpoint.load(path)
    assert caught.value.hint == "delete it; --resume then begins again"


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "last.safetensors"
    checkpoint.save(path, Checkpoint(values={"step": 3, "metric": [0.5]}, tensors={"model/a": torch.arange(3.0)}))
    again = checkpoint.load(path)
    assert again.values == {"step": 3, "metric": [0.5]}
    assert torch.equal(again.part("model")["a"], torch.arange(3.0))
    assert again.part("loss") == {}


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "VERSION", 0)
        checkpoint.save(tmp_path / "c", state(1))
    with pytest.raises(RunError, match="another version"):
        checkpoint.load(tmp_path / "c")


def test_random_numbers_depend_on_seed_and_step_alone() -> None:
    def drawn(seed: int, step: int) -> list[float]:
        with seeded(seed, step):
            return torch.rand(4).tolist()

    before = torch.get_rng_state()
    assert drawn(1, 5) == drawn(1, 5)
    assert len({tuple(drawn(seed, step)) for seed in range(20) for step in range(20)}) == 400
    assert torch.equal(torch.get_rng_state(), before)
