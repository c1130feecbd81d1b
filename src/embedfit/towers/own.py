"""Our own layout of a tower: safetensors and JSON, for what sentence-transformers cannot express."""

from __future__ import annotations

__all__ = ["describe", "read", "restore", "write"]

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from embedfit.errors import ModelError
from embedfit.towers.bag import Residual
from embedfit.towers.base import Tower
from embedfit.towers.dense import Dense, as_residual
from embedfit.towers.encoder import Encoder
from embedfit.towers.features import Features
from embedfit.towers.ngram import Ngram
from embedfit.towers.prototypes import Prototypes
from embedfit.towers.recurrent import Recurrent, RecurrentShape
from embedfit.towers.sentence_transformers import read_fast_tokenizer, read_json, read_weights
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
            return "encoder", {}
        case Ngram():
            settings = {"features": asdict(tower.features), "max_tokens": tower.max_tokens, "dropout": tower.dropout}
            return "ngram", {**settings, "blocks": _count_blocks(tower.blocks)}
        case Recurrent():
            return tower.shape.cell, asdict(tower.shape)
        case Prototypes():
            return "prototypes", {}
    raise ModelError(
        f"a tower of class {type(tower).__name__} cannot be saved", hint="save its weights in your own code"
    )


def write(tower: Tower, folder: Path) -> None:
    """Weights as model.safetensors; sub-words, features or labels beside them as JSON."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in tower.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    match tower:
        case Ngram():
            _write_list(folder / "vocabulary.json", tower.vocabulary)
        case Recurrent():
            tower.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        case Prototypes():
            _write_list(folder / "labels.json", tower.labels)


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
                table = weights["table"]
                blocks = [Residual(table.shape[1], table.shape[1]) for _ in range(settings["blocks"])]
                tower = Ngram(
                    Features(**settings["features"]),
                    read_json(folder / "vocabulary.json"),
                    table,
                    max_tokens=settings["max_tokens"],
                    dropout=settings["dropout"],
                    blocks=blocks,
                )
            case "gru" | "lstm":
                tower = Recurrent(read_fast_tokenizer(folder), RecurrentShape(**settings))
            case "prototypes":
                tower = Prototypes(read_json(folder / "labels.json"), weights["table"])
            case _:
                raise ModelError(f"'{folder}' holds a tower of kind '{kind}', which this version does not know")
        tower.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ModelError(f"'{folder}' holds a {kind} tower that does not fit its settings: {error}") from None
    return tower


def restore(tower: Tower, settings: Mapping[str, Any]) -> Tower:
    """What the layout of sentence-transformers does not tell of a tower of ours: its dropout and residual blocks."""
    if not isinstance(tower, Static):
        return tower
    layers = [layer for layer in tower.head if isinstance(layer, Dense)]
    blocks = settings["blocks"]
    head: list[nn.Module] = [*layers[: len(layers) - 2 * blocks]]
    pairs = layers[len(layers) - 2 * blocks :]
    head += [as_residual(first, second) for first, second in zip(pairs[::2], pairs[1::2], strict=True)]
    tower.head = nn.Sequential(*head)
    tower.dropout = settings["dropout"]
    return tower


def _count_blocks(layers: nn.Sequential) -> int:
    return sum(isinstance(layer, Residual) for layer in layers)


def _write_list(path: Path, names: tuple[str, ...]) -> None:
    path.write_text(json.dumps(names, ensure_ascii=False, indent=0) + "\n", "utf-8")
