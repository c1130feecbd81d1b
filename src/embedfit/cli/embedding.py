"""Embeddings of a file of texts, and an index beside that has proved itself."""

from __future__ import annotations

__all__ = ["encode_file", "texts_for"]

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from rich.progress import track

from embedfit.cli.interrupt import Interrupted
from embedfit.cli.sources import open_model
from embedfit.cli.terminal import console, say, show
from embedfit.data.texts import read_texts
from embedfit.errors import DataError, ModelError
from embedfit.evaluate.index import build, check_rows, export, load, save, self_check
from embedfit.towers import read_facts

BLOCK = 4096  # texts encoded between two signs of life
Role = Literal["query", "document"]
Encode = Callable[[list[str]], np.ndarray]


def encode_file(model: str, texts: list[str], path: Path, *, role: Role, index: str | None) -> None:
    """Encode, write; and, where asked, build an index, check it, write it, and check what was written.

    Args:
        model: run or model.
        texts: what is encoded, in the order of the rows.
        path: of the embeddings.
        role: which tower.
        index: folder of the index; none: no index.
    """
    towers = open_model(model).model

    def encode(texts: list[str]) -> np.ndarray:
        return towers.encode(texts, role=role)

    vectors = encoded(encode, texts)
    empty = without_features(texts, vectors)
    if empty:
        say(f"{empty}; their embeddings are zero", style="yellow")
    export(vectors, path, columns={"text": texts} if path.suffix == ".parquet" else None)
    show(
        f"{path}: {len(vectors):,} embeddings of {vectors.shape[1]} dimensions, one per text, in the order of the file"
    )
    if index is not None:
        try:
            show(write_index(encode, texts, vectors, Path(index), model=fingerprint(model)))
        except KeyboardInterrupt:
            raise Interrupted(f"{path} is written, the index in {index} is not") from None


def texts_for(file: str, out: str, *, column: str | None, encoding: str) -> tuple[list[str], Path]:
    """The texts of a file and where their embeddings go; checked before anything is loaded."""
    path = Path(out)
    if path.suffix not in (".npy", ".parquet"):
        raise DataError(f"embeddings are written to .npy or .parquet, got '{out}'", hint="-o embeddings.npy")
    return read_texts(file, column=column, encoding=encoding), path


def encoded(encode: Encode, texts: list[str]) -> Float[np.ndarray, "n e"]:
    """Embeddings, with a bar on a terminal."""
    err = console(stderr=True)
    blocks = [texts[i : i + BLOCK] for i in range(0, len(texts), BLOCK)]
    shown = track(blocks, "encoding", console=err, transient=True, disable=not err.is_terminal)
    return np.concatenate([encode(block) for block in shown])


def without_features(texts: list[str], vectors: Float[np.ndarray, "n e"]) -> str:
    """Says which texts have no feature that the model knows; empty where all have."""
    rows = np.flatnonzero(~vectors.any(1))
    if not rows.size:
        return ""
    first = f"number {rows[0] + 1}, '{texts[rows[0]]}'"
    return f"the model knows nothing in {rows.size:,} of {len(texts):,} texts (the first is {first})"


def write_index(
    encode: Encode, texts: list[str], vectors: Float[np.ndarray, "n e"], folder: Path, *, model: str
) -> str:
    """An index whose document i is row i of the embeddings; says what was checked.

    Raises:
        ModelError: a document does not find itself; if this shows before writing, nothing is written.
    """
    empty = without_features(texts, vectors)
    if empty:
        raise ModelError(f"{empty}: an index would never find them", hint="take them out of the file")
    made = build(vectors, [str(i) for i in range(len(texts))], model=model)
    rows = check_rows(len(texts))
    fresh = vectors.copy()
    fresh[rows] = encode([texts[i] for i in rows])
    self_check(made, fresh)
    save(made, folder)
    said = self_check(load(folder, model=model), fresh)
    twins = f" ({said['duplicates']:,} an exact duplicate of themselves)" if said["duplicates"] else ""
    return (
        f"{folder}: FAISS index of {len(texts):,} documents, exact inner product, ids are the rows of the embeddings\n"
        f"checked: {said['checked']:,} documents, encoded afresh, found themselves first with cosine 1{twins}, "
        "in the index as built and as read back"
    )


def fingerprint(model: str) -> str:
    """Of a model's weights; of a foreign model, its name."""
    place = Path(model)
    own = place / "model" if (place / "recipe.toml").is_file() else place
    if not (own / "embedfit.json").is_file():
        return model
    return hashlib.sha256(json.dumps(read_facts(own)["files"], sort_keys=True).encode()).hexdigest()[:32]
