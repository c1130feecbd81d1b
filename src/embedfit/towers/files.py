"""Files of a model folder, read so that every failure says which file, why, and what to do."""

from __future__ import annotations

__all__ = [
    "NOT_WHOLE",
    "missing_weights",
    "read_json",
    "read_tokenizer_file",
    "read_weights",
    "write_json",
    "write_weights",
]

import json
from collections.abc import Mapping
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
