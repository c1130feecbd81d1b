"""Embeddings of a file of texts, and an index beside that has proved itself."""

from __future__ import annotations

__all__ = ["encode_file", "open_index", "texts_for"]

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from rich.progress import track

from embedfit.cli.interrupt import Interrupted
from embedfit.cli.sources import open_model
from embedfit.cli.terminal import console, say, show
from embedfit.data.texts import Texts, open_texts
from embedfit.errors import DataError, ModelError
from embedfit.evaluate.export import Part, export, read_exported
from embedfit.evaluate.index import Index, build, check_rows, load, save, self_check
from embedfit.judging import assist, together
from embedfit.neighbours import Kind
from embedfit.team import Team
from embedfit.towers import read_facts

BLOCK = 4096  # texts encoded between two signs of life, for each process
Role = Literal["query", "document"]
Encode = Callable[[list[str]], np.ndarray]


def encode_file(
    model: str, texts: Texts, path: Path, *, role: Role, index: str | None, kind: Kind | Literal["auto"], team: Team
) -> None:
    """Encode, write; and, where asked, build an index, check it, write it, and check what was written.

    Neither the texts nor the embeddings need to be in memory all at once, if they are read from Parquet and written to
    a `.npy` file.

    Args:
        model: run or model.
        texts: what is encoded, in the order of the rows.
        path: of the embeddings.
        role: which tower.
        index: folder of the index; none: no index.
        kind: of the index.
        team: the processes that share the texts; all call this, the first writes and speaks.
    """
    towers = open_model(model).model
    if not team.leads:
        assist(towers, team)
        return

    def encode(some: list[str]) -> np.ndarray:
        return together(towers, some, role, team)

    export(encoded(encode, texts, BLOCK * team.size, keep_texts=path.suffix == ".parquet"), path)
    vectors = read_exported(path)
    empty = without_features(texts, vectors)
    if empty:
        say(f"{empty}; their embeddings are zero", style="yellow")
    show(
        f"{path}: {len(vectors):,} embeddings of {vectors.shape[1]} dimensions, one per text, in the order of the file"
    )
    if index is not None:
        if empty:
            raise ModelError(f"{empty}: an index would never find them", hint="take them out of the file")
        try:
            show(write_index(encode, texts, vectors, Path(index), kind=kind, model=fingerprint(model)))
        except KeyboardInterrupt:
            raise Interrupted(f"{path} is written, the index in {index} is not") from None
    team.tell(None)  # the others may go


def texts_for(file: str, out: str, *, column: str | None, encoding: str) -> tuple[Texts, Path]:
    """The texts of a file and where their embeddings go; checked before anything is loaded."""
    path = Path(out)
    if path.suffix not in (".npy", ".parquet"):
        raise DataError(f"embeddings are written to .npy or .parquet, got '{out}'", hint="-o embeddings.npy")
    return open_texts(file, column=column, encoding=encoding), path


def encoded(encode: Encode, texts: Texts, size: int, *, keep_texts: bool) -> Iterator[Part]:
    """Embeddings a part at a time, with a bar on a terminal."""
    err = console(stderr=True)
    shown = track(
        texts.parts(size),
        "encoding",
        total=-(-texts.count // size),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    for part in shown:
        yield encode(part), {"text": part} if keep_texts else {}


def without_features(texts: Texts, vectors: Float[np.ndarray, "n e"]) -> str:
    """Says which texts have no feature that the model knows; empty where all have."""
    rows = np.flatnonzero(~vectors.any(1))
    if not rows.size:
        return ""
    first = f"number {rows[0] + 1}, '{texts.at(rows[:1].tolist())[0]}'"
    return f"the model knows nothing in {rows.size:,} of {len(vectors):,} texts (the first is {first})"


def write_index(
    encode: Encode,
    texts: Texts,
    vectors: Float[np.ndarray, "n e"],
    folder: Path,
    *,
    kind: Kind | Literal["auto"],
    model: str,
) -> str:
    """An index whose document i is row i of the embeddings; says what was checked.

    Raises:
        ModelError: a document does not find itself; if this shows before writing, nothing is written.
    """
    made = build(vectors, [str(i) for i in range(len(vectors))], kind=kind, model=model)
    rows = check_rows(len(vectors))
    fresh = encode(texts.at(rows.tolist()))
    self_check(made, fresh, rows)
    save(made, folder)
    said = self_check(load(folder, model=model), fresh, rows)
    twins = f" ({said['duplicates']:,} an exact duplicate of themselves)" if said["duplicates"] else ""
    share = "" if made.vectors.kind == "flat" else f" ({said['missed']:,} did not, which an approximate index may)"
    return (
        f"{folder}: FAISS index of {made}, ids are the rows of the embeddings\n"
        f"checked: {said['checked']:,} documents, encoded afresh, found themselves first with cosine 1{twins}{share}, "
        "in the index as built and as read back"
    )


def open_index(folder: str, model: str) -> Index:
    """An index of this model.

    Raises:
        ModelError: there is none, or another model made it.
    """
    return load(Path(folder), model=fingerprint(model))


def fingerprint(model: str) -> str:
    """Of a model's weights; of a foreign model, its name."""
    place = Path(model)
    own = place / "model" if (place / "recipe.toml").is_file() else place
    if not (own / "embedfit.json").is_file():
        return model
    return hashlib.sha256(json.dumps(read_facts(own)["files"], sort_keys=True).encode()).hexdigest()[:32]
