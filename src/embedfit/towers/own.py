"""Our own layout of a tower: safetensors and JSON, for what sentence-transformers cannot express."""

from __future__ import annotations

__all__ = ["changed", "describe", "read", "restore", "write"]

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from embedfit.errors import ModelError
from embedfit.towers.bag import Residual
from embedfit.towers.base import Tower
from embedfit.towers.dense import Dense, as_residual
from embedfit.towers.encoder import Encoder
from embedfit.towers.features import Features
from embedfit.towers.files import NOT_WHOLE, read_json, read_tokenizer_file, read_weights, write_json, write_weights
from embedfit.towers.ngram import Ngram
from embedfit.towers.prototypes import Prototypes
from embedfit.towers.recurrent import Recurrent, RecurrentShape
from embedfit.towers.static import Static


def describe(tower: Tower) -> tuple[str, dict[str, Any]]:
    """Kind of a tower and the settings that its weights do not tell.

    Raises:
        ModelError: it is a tower of a class unknown here.
    """
    match tower:
        case Static():
            return "static", {"dropout": tower.dropout, "blocks": _count_blocks(tower.head)}
        case Encoder():
            return "encoder", {"prompt": tower.prompt}
        case Ngram():
            settings = {"max_tokens": tower.max_tokens, "dropout": tower.dropout}
            return "ngram", {"features": asdict(tower.features), **settings}
        case Recurrent():
            return tower.shape.cell, asdict(tower.shape)
        case Prototypes():
            return "prototypes", {"parts": tower.parts}
    raise ModelError(
        f"a tower of class {type(tower).__name__} cannot be saved", hint="save its weights in your own code"
    )


def write(tower: Tower, folder: Path) -> None:
    """Weights as model.safetensors; sub-words, features or labels beside them as JSON."""
    write_weights(folder, tower.state_dict())
    match tower:
        case Ngram():
            write_json(folder / "vocabulary.json", tower.vocabulary)
        case Recurrent():
            tower.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        case Prototypes():
            write_json(folder / "labels.json", tower.labels)


def read(kind: str, settings: Mapping[str, Any], folder: Path) -> Tower:
    """The tower that `write` wrote.

    Args:
        kind: as `describe` told it.
        settings: ditto.
        folder: where `write` wrote.

    Raises:
        ModelError: a file is missing or broken, or the kind is unknown.
    """
    weights = read_weights(folder)
    tower: Tower
    try:
        match kind:
            case "ngram":
                tables = sorted((name for name in weights if name.startswith("tables.")), key=lambda n: int(n[7:]))
                tower = Ngram(
                    Features(**settings["features"]),
                    read_json(folder / "vocabulary.json"),
                    idf=weights["idf"],
                    spelling=weights["spelling"],
                    table=torch.stack([weights[name] for name in tables]),
                    max_tokens=settings["max_tokens"],
                    dropout=settings["dropout"],
                )
            case "gru" | "lstm":
                tower = Recurrent(read_tokenizer_file(folder), RecurrentShape(**settings))
            case "prototypes":
                tower = Prototypes(read_json(folder / "labels.json"), weights["table"], parts=settings["parts"])
            case _:
                raise ModelError(
                    f"'{folder}' holds a tower of kind '{kind}', which this version does not know",
                    hint="it was saved by another version of embedfit: load it with that one",
                )
        tower.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"'{folder}' holds a {kind} tower that does not fit its settings: {error}",
            hint=NOT_WHOLE,
        ) from None
    return tower


def changed(settings: Mapping[str, Any], *, dropout: float | None, max_tokens: int | None) -> dict[str, Any]:
    """Settings with another dropout and a shorter cut, where the tower has them and they are given."""
    out = dict(settings)
    if dropout is not None and "dropout" in out:
        out["dropout"] = dropout
    if max_tokens is not None and "max_tokens" in out:
        out["max_tokens"] = min(max_tokens, out["max_tokens"])
    return out


def restore(tower: Tower, settings: Mapping[str, Any], *, dropout: float | None = None) -> Tower:
    """What the layout of sentence-transformers does not tell of a tower of ours.

    Args:
        tower: as read from that layout.
        settings: as `describe` told them.
        dropout: replaces the one in the settings.

    Raises:
        ModelError: the settings belong to another tower.
    """
    try:
        match tower:
            case Encoder():
                return tower.prompted(settings["prompt"]) if settings["prompt"] else tower
            case Static():
                tower.dropout = settings["dropout"] if dropout is None else dropout
                tower.head = nn.Sequential(*_with_blocks(tower.head, settings["blocks"]))
            case Recurrent():
                shape = replace(tower.shape, dropout=settings["dropout"] if dropout is None else dropout)
                made = Recurrent(tower.tokenizer, shape)
                made.load_state_dict(tower.state_dict())
                return made
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"the settings in embedfit.json do not fit the tower beside it: {error}",
            hint=NOT_WHOLE,
        ) from None
    return tower


def _with_blocks(head: nn.Sequential, blocks: int) -> list[nn.Module]:
    """The head with its last 2 x `blocks` dense layers read as residual blocks again."""
    layers = [layer for layer in head if isinstance(layer, Dense)]
    first = len(layers) - 2 * blocks
    pairs = zip(layers[first::2], layers[first + 1 :: 2], strict=True)
    return [*layers[:first], *(as_residual(*pair) for pair in pairs)]


def _count_blocks(layers: nn.Sequential) -> int:
    return sum(isinstance(layer, Residual) for layer in layers)
