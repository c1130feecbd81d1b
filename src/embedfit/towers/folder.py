"""Model folders: what sentence-transformers can express is written in its layout, the rest as safetensors and JSON.

model/
  embedfit.json           format, towers and their settings, sizes and sha256 of the weights
  README.md               model card
  modules.json, ...       the tower in the layout of sentence-transformers, or
  model.safetensors, ...  the tower in our own layout, or
  query/, document/       two towers, each in one of the two layouts
  router_config.json      two towers that sentence-transformers (5 and later) can load together
"""

from __future__ import annotations

__all__ = ["FORMAT", "load", "read_facts", "save"]

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedfit.errors import ModelError
from embedfit.towers import own, sentence_transformers
from embedfit.towers.base import Tower
from embedfit.towers.card import card
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
        The folder.

    Raises:
        ModelError: the folder holds something else, or cannot be written.
    """
    place = Path(folder).absolute()
    if place.exists() and not (place / _MANIFEST).is_file() and (not place.is_dir() or any(place.iterdir())):
        raise ModelError(
            f"'{folder}' exists and is no model of embedfit; it is left as it is", hint="choose another folder"
        )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
        try:
            _write(model, part, dict(extra or {}))
            part.chmod(0o755)
            _replace(part, place)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise ModelError(
            f"cannot write '{folder}': {error.strerror or error}", hint="free space or choose another folder"
        ) from error
    return place


def load(folder: str | os.PathLike[str]) -> TwoTower:
    """Read a model folder: one of ours, of sentence-transformers, or of Hugging Face (mean pooling).

    Raises:
        ModelError: there is none, or a file is missing, changed or not understood.
    """
    place = Path(folder)
    if not place.is_dir():
        raise ModelError(f"no model folder at '{place}'", hint=None)
    if not (place / _MANIFEST).is_file():
        return TwoTower(sentence_transformers.read(place))
    manifest = read_facts(place)
    _check_files(place, manifest["files"])
    roles = manifest["roles"]
    query = _read_tower(place, roles["query"])
    return TwoTower(query, None if roles["document"] == roles["query"] else _read_tower(place, roles["document"]))


def read_facts(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of embedfit.json, `extra` among it.

    Raises:
        ModelError: it is missing, broken, or of a later format.
    """
    path = Path(folder) / _MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
        form, _, _, _ = manifest["format"], manifest["files"], manifest["roles"]["query"], manifest["roles"]["document"]
    except FileNotFoundError:
        raise ModelError(f"'{folder}' lacks {_MANIFEST}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ModelError(f"'{path}' is broken: {error}", hint="was it copied whole?") from None
    if form != FORMAT:
        raise ModelError(f"'{folder}' has format {form}; this version reads {FORMAT}", hint="update embedfit")
    return dict(manifest)


def _write(model: TwoTower, folder: Path, extra: dict[str, Any]) -> None:
    roles: dict[str, dict[str, Any]] = {}
    if model.shared:
        roles["query"] = roles["document"] = _write_tower(model.query, folder, "")
    else:
        for role, tower in (("query", model.query), ("document", model.document)):
            roles[role] = _write_tower(tower, folder, role)
        if all(entry["layout"] == "sentence-transformers" for entry in roles.values()):
            sentence_transformers.write_router(folder, tuple(roles))
    manifest = {"format": FORMAT, "dimension": model.dimension, "roles": roles, "extra": extra}
    (folder / "README.md").write_text(card(manifest), "utf-8")
    manifest["files"] = {
        p.relative_to(folder).as_posix(): _fingerprint(p) for p in sorted(folder.rglob("*.safetensors"))
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n", "utf-8")
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as written:
                os.fsync(written.fileno())


def _write_tower(tower: Tower, folder: Path, name: str) -> dict[str, Any]:
    place = folder / name
    place.mkdir(exist_ok=True)
    kind, settings = own.describe(tower)
    if sentence_transformers.expressible(tower):
        sentence_transformers.write(tower, place)
        return {"folder": name, "layout": "sentence-transformers", "kind": kind, "settings": settings}
    own.write(tower, place)
    return {"folder": name, "layout": "embedfit", "kind": kind, "settings": settings}


def _read_tower(folder: Path, entry: Mapping[str, Any]) -> Tower:
    try:
        place, layout, kind, settings = folder / entry["folder"], entry["layout"], entry["kind"], entry["settings"]
    except KeyError as error:
        raise ModelError(f"'{folder / _MANIFEST}': a tower lacks {error}") from None
    if layout == "sentence-transformers":
        return own.restore(sentence_transformers.read(place), settings)
    return own.read(kind, settings, place)


def _replace(part: Path, place: Path) -> None:
    """Rename; an old folder steps aside first and is back if the new one cannot take its place."""
    if not place.exists():
        part.rename(place)
        return
    aside = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.old."))
    place.rename(aside / "model")
    try:
        part.rename(place)
    except OSError:
        (aside / "model").rename(place)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


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
            raise ModelError(
                f"'{path}' was changed after it was written: its sha256 differs", hint="copy the folder again"
            )
