"""Opens text files, compressed or not, and says where and why one is not in the encoding it should be."""

from __future__ import annotations

__all__ = ["Survey", "open_text", "survey", "utf8_chunks"]

import codecs
import gzip
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from embedfit.errors import DataError

_CHUNK = 1 << 22
_QUOTE, _NEWLINE, _RETURN = 0x22, 0x0A, 0x0D


def open_bytes(path: Path) -> io.BufferedReader | gzip.GzipFile:
    """The bytes of a file, unpacked if its name ends in .gz."""
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror}", hint="check that it is a file and may be read"
        ) from error


def open_text(path: Path, encoding: str, newline: str = "") -> io.TextIOWrapper:
    """The text of a file with its line ends as they are; a byte-order mark is not part of the text.

    Args:
        newline: "" when a carriage return ends a line too, "\\n" when only a line feed does.
    """
    _check_name(encoding)
    if codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline=newline)


def utf8_chunks(path: Path, encoding: str) -> Iterator[bytes]:
    """The text of a file as UTF-8, a few megabytes at a time.

    Raises:
        DataError: the file is not in `encoding`; names line and byte and guesses what it is in.
    """
    _check_name(encoding)
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, line = 0, 1
    with open_bytes(path) as file:
        while True:
            chunk = _read(file, path)
            if not offset and chunk.startswith(codecs.BOM_UTF8) and codecs.lookup(encoding).name == "utf-8":
                chunk, offset = chunk[3:], 3
            kept = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                raise _wrong_encoding(path, encoding, line=line, byte=offset - kept + error.start) from error
            if text:
                yield text.encode()
            if not chunk:
                return
            offset += len(chunk)
            line += chunk.count(b"\n")


@dataclass(frozen=True, slots=True)
class Survey:
    """What one look over a delimited file tells.

    Attributes:
        clean_quotes: every quotation mark opens, closes or is doubled inside a quoted cell (RFC 4180). Where it is so,
            every CSV reader sees the same cells; where it is not, readers differ and lose rows silently.
        stray_returns: lines end in line feeds, and carriage returns stand elsewhere too.
    """

    clean_quotes: bool
    stray_returns: bool


def survey(chunks: Iterable[bytes], delimiter: str) -> Survey:
    """Look over the text of a delimited file, given as UTF-8 in chunks of any size."""
    outside = np.array([ord(delimiter), _NEWLINE, _RETURN], dtype=np.uint8)
    clean, opened, returns, feeds = True, 0, 0, 0
    carried = b"\n"  # a mark is judged by both neighbours: the last byte waits for the next chunk
    for chunk in chain(chunks, (b"\n\n",)):
        text = carried + chunk
        window = np.frombuffer(text, dtype=np.uint8)
        carried = text[-2:]
        returns += text.count(b"\r", 1, -1) - text.count(b"\r\n", 1)
        feeds += chunk.count(b"\n")
        at = np.flatnonzero(window[1:-1] == _QUOTE) + 1
        if not clean or not len(at):
            continue
        opening = (np.arange(len(at)) + opened) % 2 == 0
        opened = (opened + len(at)) % 2
        left, right = window[at - 1], window[at + 1]
        starts = np.isin(left, outside) | (left == _QUOTE)
        ends = np.isin(right, outside) | (right == _QUOTE)
        clean = bool(np.where(opening, starts, ends).all())
    added = 2  # the line feeds appended above
    return Survey(clean_quotes=clean and not opened, stray_returns=returns > 0 and feeds > added)


def _read(file: io.BufferedReader | gzip.GzipFile, path: Path) -> bytes:
    try:
        return file.read(_CHUNK)
    except (OSError, EOFError) as error:
        raise DataError(
            f"cannot read {path}: {error}", hint="the file seems to be cut off or not compressed"
        ) from error


def _check_name(encoding: str) -> None:
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise DataError(
            f"there is no encoding '{encoding}'", hint="usual ones are utf-8, gb18030, utf-16, cp1252"
        ) from error


def _wrong_encoding(path: Path, encoding: str, *, line: int, byte: int) -> DataError:
    with open_bytes(path) as file:
        file.seek(max(0, byte - 2000))
        near = file.read(1 << 20)
        file.seek(0)
        guess = _guess(file.read(4), near)
        file.seek(byte)
        value = file.read(1)[0]
    return DataError(
        f"{path} is not {encoding.upper()}: line {line}, byte {byte} of the file (0x{value:02x}) cannot be read",
        hint=f"it looks like {guess[1]}: encoding='{guess[0]}' (--encoding {guess[0]})",
    )


def _guess(start: bytes, near: bytes) -> tuple[str, str]:
    """The likeliest encoding of text that is not UTF-8: name for Python, name for people.

    In GBK the bytes above 0x7f mostly stand beside one another; in Latin-1 text they stand alone between letters.
    """
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16", "UTF-16"
    if near.count(0) > len(near) // 4:
        return ("utf-16-le", "UTF-16") if near[1:2] == b"\0" else ("utf-16-be", "UTF-16")
    high = np.frombuffer(near, dtype=np.uint8) >= 0x80
    paired = int((high[1:] & high[:-1]).sum())
    if paired > high.sum() / 2:
        try:
            codecs.getincrementaldecoder("gb18030")().decode(near[int(np.argmax(high)) :])
        except UnicodeDecodeError:
            return "cp1252", "Latin-1 (Windows-1252)"
        return "gb18030", "GBK/GB18030"
    return "cp1252", "Latin-1 (Windows-1252)"
