"""From what the user named to a sorted list of files of one format."""

from __future__ import annotations

__all__ = ["find_files", "format_of", "looks_like_hub_name", "require_file"]

import glob
import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from embedfit.errors import DataError

_FORMATS = {
    **{".csv": "csv", ".tsv": "tsv", ".tab": "tsv"},
    **{".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"},
    **{".parquet": "parquet", ".pq": "parquet"},
}
_READABLE = ".csv, .tsv, .jsonl (each also .gz) and .parquet"
_TRAIN, _HELD_OUT = {"train", "training"}, {"test", "dev", "valid", "validation", "val", "eval"}


def format_of(path: Path) -> str | None:
    """csv | tsv | jsonl | parquet by the file's name, None when it names none of these."""
    packed = path.suffix.lower() == ".gz"
    found = _FORMATS.get(Path(path.stem).suffix.lower() if packed else path.suffix.lower())
    return None if packed and found == "parquet" else found


def looks_like_hub_name(source: str) -> bool:
    """Whether this may be `owner/name` on the Hugging Face hub rather than a mistyped path."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", source):
        return False
    path = Path(source)
    return format_of(path) is None and not path.exists() and not path.parent.exists()


def find_files(source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The files behind a path, a folder, a glob or a list of those; sorted inside a folder or glob.

    Raises:
        DataError: nothing is there, or what is there is of several formats.
    """
    if isinstance(source, str | os.PathLike):
        files = _expand(os.fspath(source))
    else:
        files = [file for one in source for file in _expand(os.fspath(one))]
        if not files:
            raise DataError("got an empty list of files; expected at least one", hint="name a file, folder or glob")
    files = list(dict.fromkeys(files))
    formats = sorted({str(format_of(f)) for f in files})
    if len(formats) > 1:
        raise DataError(
            f"{len(files)} files of several formats: {', '.join(formats)}",
            hint="read one format at a time, for example with a glob such as 'data/*.csv'",
        )
    return files


def require_file(path: str | os.PathLike[str]) -> Path:
    """The path itself, when there is a readable file of a known format."""
    found = Path(path)
    if found.is_dir():
        raise DataError(f"{found} is a folder; a file is expected here", hint="name one of the files inside")
    return _expand(os.fspath(path))[0]


def _expand(source: str) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        return _inside(path)
    if path.exists():
        if format_of(path) is None:
            raise DataError(
                f"{path}: the format of '{path.name}' is not known from its name; readable are {_READABLE}",
                hint="rename the file, or read it yourself and hand over the rows",
            )
        return [path]
    if glob.has_magic(source):
        matches = [Path(p) for p in sorted(glob.glob(source, recursive=True))]
        files = [p for p in matches if p.is_file() and format_of(p) is not None]
        if not files:
            raise DataError(
                f"no readable file matches '{source}' ({len(matches)} other matches); readable are {_READABLE}",
                hint="quote the pattern, so that embedfit and not the shell expands it",
            )
        return files
    raise DataError(f"there is no file or folder '{source}'", hint=_nearest(path))


def _inside(folder: Path) -> list[Path]:
    entries = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    files = [p for p in entries if format_of(p) is not None]
    if not files:
        seen = ", ".join(p.name for p in entries[:5]) or "nothing"
        raise DataError(
            f"the folder {folder} has no readable file (it holds {seen}); readable are {_READABLE}",
            hint="name a file of one of these formats, or the folder that holds them",
        )
    formats = sorted({str(format_of(p)) for p in files})
    if len(formats) > 1:
        raise DataError(
            f"the folder {folder} holds files of several formats: {', '.join(formats)}",
            hint=f"name one format: '{folder}/*.{formats[0]}'",
        )
    words = {p: set(re.split(r"[._\- ]", p.name.lower())) for p in files}
    train = [p for p in files if words[p] & _TRAIN]
    held_out = [p for p in files if words[p] & _HELD_OUT]
    if train and held_out:
        raise DataError(
            f"the folder {folder} holds training and held-out files ({train[0].name}, {held_out[0].name}, ...): "
            "read together, the held-out rows would be trained on",
            hint=f"name the file: '{train[0]}'",
        )
    return files


def _nearest(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        path, parent = parent, parent.parent
    names = sorted(p.name for p in parent.iterdir()) if os.access(parent, os.R_OK) else []
    near = get_close_matches(path.name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{parent / near[0]}'?"
    where = "the current folder" if str(parent) == "." else f"'{parent}'"
    return f"{where} holds " + (", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing")
