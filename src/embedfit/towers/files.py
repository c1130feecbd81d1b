"""Files of a model folder, read so that every failure says which file, why, and what to do."""

from __future__ import annotations

__all__ = [
    "NOT_WHOLE",
    "missing_weights",
    "read_json",
    "read_tokenizer_file",
    "read_weights",
    "whole_folder",
    "write_json",
    "write_weights",
]

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from embedfit.errors import ModelError

NOT_WHOLE = "was the folder copied whole? Save the model again, or fetch it again"
"""What to do about a file that is missing or broken."""

_WEIGHTS = "model.safetensors"


def missing_weights(folder: Path) -> ModelError:
    """Why a folder without safetensors cannot be read: only a pickle is there, or nothing."""
    pickled = sorted(p.name for p in folder.glob("*.bin"))
    if not pickled:
        return ModelError(f"'{folder}' lacks {_WEIGHTS}", hint=NOT_WHOLE)
    return ModelError(
        f"'{folder}' holds its weights only as '{pickled[0]}', a pickle, which may run any code when it is read",
        hint="where you trust it, convert it: transformers' `save_pretrained` writes safetensors",
    )


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of model.safetensors.

    Raises:
        ModelError: there are none, they are cut short, or only a pickle is there.
    """
    path = folder / _WEIGHTS
    if not path.is_file():
        raise missing_weights(folder)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"'{path}' is broken: {error}", hint=NOT_WHOLE) from None


def write_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Tensors as model.safetensors."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, folder / _WEIGHTS)


def read_tokenizer_file(folder: Path) -> Tokenizer:
    """The tokeniser of tokenizer.json.

    Raises:
        ModelError: it is missing or broken.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(
            f"'{folder}' lacks tokenizer.json",
            hint=NOT_WHOLE,
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelError(f"'{path}' is broken: {error}", hint=NOT_WHOLE) from None


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ModelError: it is missing or broken.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(f"'{path.parent}' lacks {path.name}", hint=NOT_WHOLE) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"'{path}' is broken: {error}", hint=NOT_WHOLE) from None


def write_json(path: Path, value: object) -> None:
    """A value as readable JSON, keys in the order given."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")


@contextmanager
def whole_folder(folder: str | os.PathLike[str], ours: Callable[[Path], bool], what: str) -> Iterator[Path]:
    """Yield a folder to write into; on success it is synced and takes the place of `folder`, on failure it is removed.

    `folder` is therefore either the old one or the new one, never half of it.

    Args:
        folder: made if need be.
        ours: whether an existing folder may be replaced.
        what: is written, for messages.

    Raises:
        ModelError: the folder holds something else, or cannot be written.
    """
    place = Path(folder).absolute()
    if place.exists() and not ours(place) and (not place.is_dir() or any(place.iterdir())):
        raise ModelError(f"'{folder}' exists and is no {what}; it is left as it is", hint="choose another folder")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
        try:
            yield part
            for path in [p for p in part.rglob("*") if p.is_file()]:
                with path.open("rb+") as written:
                    os.fsync(written.fileno())
            part.chmod(0o755)
            _replace(part, place)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        hint = "free space or choose another folder; the old one, if any, is untouched"
        raise ModelError(f"cannot write '{folder}': {error.strerror or error}", hint=hint) from error


def _replace(part: Path, place: Path) -> None:
    """Rename; an old folder steps aside first and is back if the new one cannot take its place."""
    if not place.exists():
        part.rename(place)
        return
    aside = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.old."))
    place.rename(aside / "model")
    try:
        part.rename(place)
    except BaseException:  # an interruption as well
        (aside / "model").rename(place)
        raise
    finally:
        if place.exists():  # else the old one is still in there
            shutil.rmtree(aside, ignore_errors=True)
