"""Token ids of large data, made once and memory-mapped from then on.

A file is named by a hash of the texts, of the tokeniser and of where it cuts, so that none is ever out of date. It lies
in the user's cache folder and nowhere near the data, is readable by the user alone, and can be deleted at any time.

Layout, little-endian: 64 bytes of header (magic, number of texts, number of ids, checksum, key), the ids as int32, the
lengths as int32.
"""

from __future__ import annotations

__all__ = ["cache_folder", "cached_tokens"]

import contextlib
import hashlib
import os
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tokenizers
import torch

from embedfit.towers.base import Tower
from embedfit.towers.encoder import Encoder
from embedfit.towers.recurrent import Recurrent
from embedfit.towers.static import Static
from embedfit.types import Tokens

LARGE = (200_000, 50_000_000)
"""Texts, or characters of all texts together, beyond which tokens are kept in a file."""
OLDEST = 30 * 24 * 3600.0
"""Seconds that a file stays after its last use."""
LARGEST = 10 * 2**30
"""Bytes of all files together; the files longest unused go first."""

_HEADER = struct.Struct("<8sQQI4x32s")
_MAGIC = b"embtok01"
_AT_ONCE = 10_000  # texts tokenised together, and the bound on what is in memory beside the file
_ABANDONED = 24 * 3600.0  # seconds after which a half-written file has no writer any more


def cached_tokens(tower: Tower, texts: Sequence[str]) -> Tokens:
    """The same as `tower.tokenize(texts)`, from a file where the data are large (see `LARGE`).

    The first call writes the file, tokenising a part at a time with as many threads as the tokeniser has; later calls,
    in this process or another, map it. Processes of one machine that ask at the same time wait for the one that
    writes. Ids are then int32. Where no file can be written the tokens are made in memory.

    Args:
        tower: any; those without a tokeniser of sub-words (`ngram`, prototypes) are not cached.
        texts: the texts, in the order of the result.
    """
    fingerprint = _fingerprint(tower)
    folder = cache_folder()
    if fingerprint is None or folder is None or not _large(texts):
        return tower.tokenize(texts)
    key = _key(fingerprint, texts)
    path = folder / "tokens" / f"{key.hex()}.ids"
    found = _read(path, key, len(texts))
    if found is not None:
        return found
    try:
        with _alone(folder, key):
            found = _read(path, key, len(texts))  # another process may have written it meanwhile
            if found is not None:
                return found
            _write(path, key, tower, texts)
    except OSError:  # a full disk, a folder that may not be written: a cache is no reason to stop
        return tower.tokenize(texts)
    _clean(path)
    written = _read(path, key, len(texts))
    return tower.tokenize(texts) if written is None else written


def cache_folder() -> Path | None:
    """Where files that can be made again are kept: `EMBEDFIT_CACHE`, else the user's cache folder (XDG).

    Returns:
        The folder, which need not exist; none where `EMBEDFIT_CACHE` is empty, which turns caching off.
    """
    chosen = os.environ.get("EMBEDFIT_CACHE")
    if chosen is not None:
        return Path(chosen).expanduser().absolute() if chosen else None
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # as the XDG specification asks: a relative path is no path
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            return None
    return base / "embedfit"


def _large(texts: Sequence[str]) -> bool:
    most_texts, most_characters = LARGE
    return len(texts) > most_texts or sum(map(len, texts)) > most_characters


def _fingerprint(tower: Tower) -> str | None:
    """What decides the ids of a text, as far as the tower has a say."""
    match tower:
        case Encoder():
            return f"special\n{tower.max_tokens}\n{len(tower.prompt)}\n{tower.prompt}\n{tower.tokenizer.to_str()}"
        case Static() | Recurrent():
            return f"plain\n{tower.max_tokens}\n{tower.tokenizer.to_str()}"
    return None


def _key(fingerprint: str, texts: Sequence[str]) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    for part in (_MAGIC, tokenizers.__version__.encode(), fingerprint.encode("utf-8", "surrogatepass")):
        digest.update(len(part).to_bytes(8, "little") + part)
    for some in _parts(texts):
        digest.update(np.array([len(text) for text in some], dtype="<i8").tobytes())
        digest.update("".join(some).encode("utf-8", "surrogatepass"))
    return digest.digest()


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), _AT_ONCE):
        yield texts[start : start + _AT_ONCE]


@contextlib.contextmanager
def _alone(folder: Path, key: bytes) -> Iterator[None]:
    """Inside, no other process of this machine is inside for the same key.

    Each key locks a byte of its own of one file that is never deleted. The system takes the lock from a process that
    dies. Where there are no such locks (Windows), each process writes a file of its own, and the last one stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tokens.lock").open("ab") as file:
        if sys.platform != "win32":
            import fcntl

            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.lockf(file, fcntl.LOCK_EX, 1, int.from_bytes(key[:4], "little"))
        yield


def _write(path: Path, key: bytes, tower: Tower, texts: Sequence[str]) -> None:
    """Under another name first, so that no reader ever meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            _fill(file, key, tower, texts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _fill(file: BinaryIO, key: bytes, tower: Tower, texts: Sequence[str]) -> None:
    file.write(bytes(_HEADER.size))
    lengths, count, checksum = [np.empty(0, dtype="<i4")], 0, 0
    for some in _parts(texts):
        tokens = tower.tokenize(some)
        ids = tokens.ids.numpy().astype("<i4").tobytes()
        file.write(ids)
        checksum = zlib.crc32(ids, checksum)
        count += len(tokens.ids)
        lengths.append(tokens.lengths.numpy().astype("<i4"))
    ends = np.concatenate(lengths).tobytes()
    file.write(ends)
    file.seek(0)
    file.write(_HEADER.pack(_MAGIC, len(texts), count, zlib.crc32(ends, checksum), key))


def _read(path: Path, key: bytes, number: int) -> Tokens | None:
    """The tokens of a file; none where it is absent, broken or not the one that was asked for."""
    if sys.byteorder != "little":
        return None
    try:
        with path.open("rb") as file:
            magic, texts, count, checksum, of = _HEADER.unpack(file.read(_HEADER.size))
            whole = _HEADER.size + 4 * (count + texts) == path.stat().st_size
            if (magic, of, texts) != (_MAGIC, key, number) or not whole or _checksum(file) != checksum:
                return None
        os.utime(path)  # its last use
    except (OSError, struct.error):
        return None
    # private pages that can be written: torch has no tensors that cannot
    mapped = np.memmap(path, dtype="<i4", mode="c", offset=_HEADER.size, shape=(count + texts,))
    lengths = torch.from_numpy(mapped[count:].astype(np.int64))
    return Tokens(torch.from_numpy(mapped[:count]), lengths)


def _checksum(file: BinaryIO) -> int:
    checksum = 0
    while part := file.read(1 << 22):
        checksum = zlib.crc32(part, checksum)
    return checksum


def _clean(kept: Path) -> None:
    """Delete what nobody has used for long, then the oldest until the rest fits; never the file just written."""
    now = time.time()
    room = LARGEST - kept.stat().st_size
    files = []
    for path in kept.parent.iterdir():
        with contextlib.suppress(OSError):
            state = path.stat()
            files.append((state.st_mtime, state.st_size, path))
    for used, size, path in sorted(files, reverse=True):
        if path == kept or path.suffix not in (".ids", ".part"):
            continue
        room -= size
        if now - used > (_ABANDONED if path.suffix == ".part" else OLDEST) or (path.suffix == ".ids" and room < 0):
            with contextlib.suppress(OSError):  # gone already, or in use where that forbids it
                path.unlink()
