"""Model folders: what sentence-transformers can express is written in its layout, the rest as safetensors and JSON.

model/
  embedfit.json           format, towers and their settings, sizes and sha256 of the weights
  README.md               model card
  modules.json, ...       one tower in the layout of sentence-transformers, or
  model.safetensors, ...  one tower in our own layout, or
  query/, document/       two towers, each in one of the two layouts, and
  router_config.json      what lets sentence-transformers (5 and later) load the two together, where it can
"""

from __future__ import annotations

__all__ = ["FORMAT", "is_ours", "load_ours", "read_facts", "save"]

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedfit.errors import ModelError
from embedfit.towers import own, sentence_transformers
from embedfit.towers.base import Tower
from embedfit.towers.card import card
from embedfit.towers.encoder import Encoder
from embedfit.towers.files import NOT_WHOLE, read_json, whole_folder, write_json
from embedfit.towers.reading import read
from embedfit.towers.two_tower import TwoTower

FORMAT = 1
_MANIFEST = "embedfit.json"


def save(model: TwoTower, folder: str | os.PathLike[str], *, extra: Mapping[str, Any] | None = None) -> Path:
    """Write a model so that its folder is either the old one or the new one, never half of it.

    Args:
        model: the towers.
        folder: made if need be; replaced when it holds a model of ours.
        extra: anything JSON can hold, kept in embedfit.json (metrics, how it was trained).

    Returns:
        The folder, absolute.

    Raises:
        ModelError: the folder holds something else, or cannot be written.
    """
    with whole_folder(folder, is_ours, "model of embedfit") as part:
        _write(model, part, dict(extra or {}))
    return Path(folder).absolute()


def is_ours(folder: Path) -> bool:
    """Whether embedfit wrote this folder."""
    return (folder / _MANIFEST).is_file()


def load_ours(folder: Path, *, dropout: float | None = None, max_tokens: int | None = None) -> TwoTower:
    """Read a folder that `save` wrote.

    Args:
        folder: of the model.
        dropout: replaces the one it was trained with.
        max_tokens: cuts texts shorter than it was trained to.

    Raises:
        ModelError: a file is missing or changed, or the format is a later one.
    """
    manifest = read_facts(folder)
    _check_files(folder, manifest["files"])
    roles = manifest["roles"]
    query = _read_tower(folder, roles["query"], dropout, max_tokens)
    if roles["document"] == roles["query"]:
        return TwoTower(query)
    if isinstance(query, Encoder) and roles["document"]["folder"] == roles["query"]["folder"]:
        return TwoTower(query, query.prompted(roles["document"]["settings"]["prompt"]))
    return TwoTower(query, _read_tower(folder, roles["document"], dropout, max_tokens))


def read_facts(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of embedfit.json, `extra` among it.

    Raises:
        ModelError: it is missing, broken, or of a later format.
    """
    path = Path(folder) / _MANIFEST
    manifest = read_json(path)
    try:
        form, _, _, _ = manifest["format"], manifest["files"], manifest["roles"]["query"], manifest["roles"]["document"]
    except (KeyError, TypeError) as error:
        raise ModelError(f"'{path}' is broken: it lacks {error}", hint="was it copied whole?") from None
    if form != FORMAT:
        raise ModelError(f"'{folder}' has format {form}; this version reads {FORMAT}", hint="update embedfit")
    return dict(manifest)


def _write(model: TwoTower, folder: Path, extra: dict[str, Any]) -> None:
    manifest = {"format": FORMAT, "dimension": model.dimension, "roles": _write_towers(model, folder), "extra": extra}
    (folder / "README.md").write_text(card(manifest), "utf-8")
    weights = sorted(folder.rglob("*.safetensors"))
    manifest["files"] = {path.relative_to(folder).as_posix(): _fingerprint(path) for path in weights}
    write_json(folder / _MANIFEST, manifest)


def _write_towers(model: TwoTower, folder: Path) -> dict[str, dict[str, Any]]:
    query, document = model.query, model.document
    if model.shared:
        entry = _write_tower(query, folder, "")
        return {"query": entry, "document": entry}
    if isinstance(query, Encoder) and isinstance(document, Encoder) and query.is_twin(document):
        entry = _write_tower(query, folder, "")
        sentence_transformers.write_prompts(folder, query=query.prompt, document=document.prompt)
        return {"query": entry, "document": {**entry, "settings": own.describe(document)[1]}}
    entries = {}
    for role, tower in (("query", query), ("document", document)):
        (folder / role).mkdir()
        entries[role] = _write_tower(tower, folder, role)
        # Old versions of sentence-transformers ask the hub for the README of a folder that has none.
        (folder / role / "README.md").write_text(f"The {role} tower of the model in the folder above.\n", "utf-8")
    # a Router tells its modules the role, which the tokeniser of an LSTM there does not take (6.2)
    if all(entry["layout"] == "sentence-transformers" and entry["kind"] != "lstm" for entry in entries.values()):
        sentence_transformers.write_router(folder, tuple(entries))
    return entries


def _write_tower(tower: Tower, folder: Path, name: str) -> dict[str, Any]:
    kind, settings = own.describe(tower)
    theirs = sentence_transformers.expressible(tower)
    (sentence_transformers.write if theirs else own.write)(tower, folder / name)
    layout = "sentence-transformers" if theirs else "embedfit"
    return {"folder": name, "layout": layout, "kind": kind, "settings": settings}


def _read_tower(folder: Path, entry: Mapping[str, Any], dropout: float | None, max_tokens: int | None) -> Tower:
    try:
        place, layout, kind, settings = folder / entry["folder"], entry["layout"], entry["kind"], entry["settings"]
    except KeyError as error:
        raise ModelError(
            f"'{folder / _MANIFEST}' is broken: a tower lacks {error}",
            hint=NOT_WHOLE,
        ) from None
    if layout == "sentence-transformers":
        return own.restore(read(place, dropout=dropout, max_tokens=max_tokens), settings, dropout=dropout)
    return own.read(kind, own.changed(settings, dropout=dropout, max_tokens=max_tokens), place)


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _check_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"'{folder}' lacks {name}", hint="was it copied whole?")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise ModelError(
                f"'{path}' has {size} bytes; {expected['bytes']} were written", hint="was it copied whole?"
            )
        if _fingerprint(path) != dict(expected):
            hint = "copy the folder again; weights that were changed on purpose make a new model"
            raise ModelError(f"'{path}' was changed after it was written: its sha256 differs", hint=hint)
