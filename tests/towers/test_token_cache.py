from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from small_towers import AWKWARD, SIZES, TEXTS, Make

from embedfit.towers import Encoder, cached_tokens, token_cache
from embedfit.towers.token_cache import cache_folder

EVERYTHING = [*TEXTS, *AWKWARD]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for every test, where every data set is large and parts are small."""
    monkeypatch.setenv("EMBEDFIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(token_cache, "LARGE", (len(EVERYTHING) - 1, 10**9))
    monkeypatch.setattr(token_cache, "_AT_ONCE", 7)
    return tmp_path / "cache" / "tokens"


def files(cache: Path) -> list[Path]:
    return sorted(cache.iterdir()) if cache.is_dir() else []


def refuse(*_: Any, **__: Any) -> Any:
    pytest.fail("tokenised again")


@pytest.mark.parametrize("kind", [kind for kind in SIZES if not kind.startswith("ngram")])
def test_tokens_of_every_tower_come_back_from_the_file(
    kind: str, make: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = make(kind).eval()
    expected = tower.tokenize(EVERYTHING)
    first = cached_tokens(tower, EVERYTHING)
    monkeypatch.setattr(type(tower), "tokenize", refuse)
    second = cached_tokens(tower, EVERYTHING)
    assert len(files(cache)) == 1
    for tokens in (first, second):
        assert tokens.ids.dtype == torch.int32
        assert torch.equal(tokens.ids.long(), expected.ids)
        assert torch.equal(tokens.lengths, expected.lengths)
    rows = torch.tensor([3, 0, 20, 3])
    assert torch.equal(tower(second.select(rows)), tower(expected.select(rows)))


@pytest.mark.parametrize("kind", list(SIZES))
def test_ids_of_32_bits_train_every_tower_alike(kind: str, make: Make) -> None:
    tower = make(kind, dropout=0.0)
    tokens = tower.tokenize(EVERYTHING)
    gradients = []
    for some in (tokens, type(tokens)(tokens.ids.int(), tokens.lengths)):
        tower.zero_grad()
        tower(some).square().sum().backward()
        gradients.append([p.grad.to_dense() for p in tower.parameters() if p.grad is not None])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_tower_without_sub_words_and_small_data_are_not_cached(
    make: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_tokens(make("ngram"), EVERYTHING)
    cached_tokens(make("static"), TEXTS)
    assert files(cache) == []
    monkeypatch.setattr(token_cache, "LARGE", (10**9, sum(map(len, TEXTS)) - 1))
    cached_tokens(make("static"), TEXTS)
    assert len(files(cache)) == 1


def test_other_texts_another_tokeniser_another_cut_and_another_prompt_have_files_of_their_own(
    make: Make, cache: Path
) -> None:
    tower: Any = make("transformer")
    moved = ["".join(EVERYTHING[:2]), "", *EVERYTHING[2:]]  # the same characters, cut into texts elsewhere
    for count, (which, texts) in enumerate(
        [
            (tower, EVERYTHING),
            (tower, EVERYTHING[::-1]),
            (tower, moved),
            (tower.prompted("query: "), EVERYTHING),
            (make("transformer", max_tokens=9), EVERYTHING),
            (make("transformer", vocabulary=100), EVERYTHING),
            (make("static"), EVERYTHING),
        ],
        start=1,
    ):
        got, expected = cached_tokens(which, texts), which.tokenize(texts)
        assert torch.equal(got.ids.long(), expected.ids)
        assert torch.equal(got.lengths, expected.lengths)
        assert len(files(cache)) == count


@pytest.mark.parametrize("damage", ["cut", "longer", "bit", "length", "key", "empty", "nonsense"])
def test_a_broken_file_is_made_again(damage: str, make: Make, cache: Path) -> None:
    tower = make("static")
    expected = tower.tokenize(EVERYTHING)
    cached_tokens(tower, EVERYTHING)
    (path,) = files(cache)
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[{"bit": 70, "length": -3, "key": 40}.get(damage, 0)] ^= 16
    changed = {"cut": whole[:-4], "longer": whole + b"more", "empty": b"", "nonsense": b"nonsense" * 99}
    path.write_bytes(changed.get(damage, bytes(broken)))
    assert torch.equal(cached_tokens(tower, EVERYTHING).ids.long(), expected.ids)
    assert path.read_bytes() == whole


def test_texts_without_any_token_are_kept_too(make: Make, cache: Path) -> None:
    texts = [""] * (len(EVERYTHING) + 1)
    for _ in range(2):
        tokens = cached_tokens(make("static"), texts)
        assert (len(tokens), len(tokens.ids)) == (len(texts), 0)
    assert len(files(cache)) == 1


def test_a_writer_that_fails_leaves_nothing_and_the_old_files_alone(
    make: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = make("static")
    cached_tokens(tower, EVERYTHING)
    before = files(cache)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        cached_tokens(tower, EVERYTHING[::-1])
    assert files(cache) == before


def test_where_no_file_can_be_written_tokens_are_made_all_the_same(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = make("static")
    (tmp_path / "file").write_text("in the way", "utf-8")
    monkeypatch.setenv("EMBEDFIT_CACHE", str(tmp_path / "file"))
    assert torch.equal(cached_tokens(tower, EVERYTHING).ids, tower.tokenize(EVERYTHING).ids)


def test_files_long_unused_and_half_written_ones_go_and_then_the_oldest_until_the_rest_fits(
    make: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir(parents=True)
    now = time.time()
    ages = {"month.ids": 31, "week.ids": 7, "day.ids": 1, "other.txt": 99, "dead.part": 2, "busy.part": 0.1}
    for name, days in ages.items():
        (cache / name).write_bytes(bytes(1000))
        os.utime(cache / name, (now - days * 86400,) * 2)
    cached_tokens(make("static"), EVERYTHING)
    kept = {"week.ids", "day.ids", "other.txt", "busy.part"}
    (new,) = {path.name for path in files(cache)} - kept
    assert {path.name for path in files(cache)} == {new, *kept}
    monkeypatch.setattr(token_cache, "LARGEST", 2 * (cache / new).stat().st_size + 2500)
    cached_tokens(make("static"), EVERYTHING[::-1])
    assert "week.ids" not in {path.name for path in files(cache)}
    assert {new, "day.ids"} < {path.name for path in files(cache)}


def test_use_keeps_a_file_young(make: Make, cache: Path) -> None:
    cached_tokens(make("static"), EVERYTHING)
    (path,) = files(cache)
    os.utime(path, (0, 0))
    cached_tokens(make("static"), EVERYTHING)
    assert path.stat().st_mtime > time.time() - 60


def test_the_users_cache_folder_is_found_and_caching_can_be_turned_off(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("EMBEDFIT_CACHE", "")
    assert cache_folder() is None
    assert torch.equal(cached_tokens(make("static"), EVERYTHING).ids, make("static").tokenize(EVERYTHING).ids)
    monkeypatch.delenv("EMBEDFIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "embedfit"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "embedfit"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_only_the_user_can_read_it(make: Make, cache: Path) -> None:
    cached_tokens(make("static"), EVERYTHING)
    assert files(cache)[0].stat().st_mode & 0o077 == 0


def test_a_pretrained_encoder_reads_mapped_ids(make: Make) -> None:
    tower: Any = make("transformer")
    tower.packed = False
    assert isinstance(tower, Encoder)
    tokens = cached_tokens(tower.eval(), EVERYTHING)
    torch.testing.assert_close(tower(tokens), tower(tower.tokenize(EVERYTHING)))


WRITER = """
import sys, time
from pathlib import Path
from embedfit.towers import token_cache
key, place, log = bytes(32), Path(sys.argv[1]), Path(sys.argv[2])
with token_cache._alone(place, key):
    made = place / "made"
    if not made.exists():
        time.sleep(0.5)
        made.write_text("x")
        with log.open("a") as file:
            file.write("written\\n")
"""


def test_processes_that_ask_at_the_same_time_write_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "cache"), str(tmp_path / "log")]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert (tmp_path / "log").read_text() == "written\n"


def test_what_another_process_has_written_meanwhile_is_not_written_again(
    make: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = make("static")
    expected = cached_tokens(tower, EVERYTHING)
    read, looks = token_cache._read, iter([None])

    def first_look_in_vain(*arguments: Any) -> Any:
        return next(looks, read(*arguments))

    monkeypatch.setattr(token_cache, "_read", first_look_in_vain)
    monkeypatch.setattr(type(tower), "tokenize", refuse)
    assert torch.equal(cached_tokens(tower, EVERYTHING).ids, expected.ids)
