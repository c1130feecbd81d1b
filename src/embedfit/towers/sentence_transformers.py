"""Towers in the folder layout of sentence-transformers.

Written with the module names of version 2, which every version up to 6 still knows; weights are safetensors only.
StaticEmbedding exists from 3.2 on, Router and sub-words before an LSTM from 5 on.
"""

from __future__ import annotations

__all__ = ["append_denses", "expressible", "write", "write_prompts", "write_router"]

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from embedfit.errors import ModelError
from embedfit.towers.bag import Residual
from embedfit.towers.base import Tower
from embedfit.towers.dense import Dense, of_residual
from embedfit.towers.encoder import Encoder
from embedfit.towers.files import read_json, write_json, write_weights
from embedfit.towers.hugging_face import write_model
from embedfit.towers.lstm_folder import fits, write_lstm
from embedfit.towers.recurrent import Recurrent
from embedfit.towers.static import Static

_POOLING_KEYS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


def expressible(tower: Tower) -> bool:
    """Whether sentence-transformers can hold this tower exactly."""
    return isinstance(tower, Static | Encoder) or fits(tower)


def write(tower: Tower, folder: Path) -> None:
    """Write a tower so that `SentenceTransformer(folder)` gives its unit-length embeddings.

    Args:
        tower: one that is `expressible`.
        folder: exists and holds nothing of that layout.

    Raises:
        ModelError: the tower cannot be expressed.
    """
    parts: list[tuple[str, str]] = []
    match tower:
        case Static():
            place = _part(folder, parts, "StaticEmbedding")
            write_weights(place, {"embedding.weight": tower.table})
            tower.tokenizer.save(str(place / "tokenizer.json"), pretty=False)
            head, prompt = list(_denses(tower.head)), ""
        case Encoder():
            parts.append(("", "Transformer"))
            write_model(tower, folder)
            write_json(folder / "sentence_bert_config.json", _limits(tower))
            config: Any = tower.model.config
            write_json(_part(folder, parts, "Pooling") / "config.json", _pooling(config.hidden_size, tower.pooling))
            head, prompt = list(_denses(tower.head)), tower.prompt
        case Recurrent() if fits(tower):
            words, cells = _part(folder, parts, "WordEmbeddings"), _part(folder, parts, "LSTM")
            head, prompt = [write_lstm(tower, words, cells)], ""
            write_json(_part(folder, parts, "Pooling") / "config.json", _pooling(tower.shape.hidden, ("lasttoken",)))
        case _:
            raise ModelError(
                f"sentence-transformers has no part for a {type(tower).__name__} tower",
                hint="save it with embedfit.towers.save, which has a folder layout of its own",
            )
    for dense in head:
        _write_dense(dense, _part(folder, parts, "Dense"))
    write_json(_part(folder, parts, "Normalize") / "config.json", {})
    _write_modules(folder, parts)
    write_prompts(folder, query=prompt, document=prompt)


def write_router(folder: Path, roles: Sequence[str]) -> None:
    """Join two towers in sub-folders: one `SentenceTransformer(folder)` that embeds queries and documents apart.

    Args:
        folder: above the towers; version 5 of sentence-transformers or later can read it, earlier ones each sub-folder.
        roles: names of the sub-folders, each written by `write`.
    """
    types: dict[str, str] = {}
    structure: dict[str, list[str]] = {}
    prompts: dict[str, str] = {}
    for role in roles:
        entries = read_json(folder / role / "modules.json")
        names = ["/".join(filter(None, (role, entry["path"]))) for entry in entries]
        structure[role] = names
        types |= {name: entry["type"] for name, entry in zip(names, entries, strict=True)}
        prompts[role] = read_json(folder / role / "config_sentence_transformers.json")["prompts"][role]
    parameters = {"default_route": "document", "allow_empty_key": True}
    write_json(folder / "router_config.json", {"types": types, "structure": structure, "parameters": parameters})
    _write_modules(folder, [("", "Router")])
    write_prompts(folder, query=prompts["query"], document=prompts["document"])


def write_prompts(folder: Path, *, query: str, document: str) -> None:
    """What is put before each query and each document; plain `encode` puts the one that both share, if any."""
    both = {"query": query, "document": document}
    if query == document != "":
        settings: dict[str, Any] = {"prompts": {**both, "default": query}, "default_prompt_name": "default"}
    else:
        settings = {"prompts": both, "default_prompt_name": None}
    write_json(folder / "config_sentence_transformers.json", {**settings, "similarity_fn_name": "cosine"})


def _part(folder: Path, parts: list[tuple[str, str]], name: str) -> Path:
    path = f"{len(parts)}_{name}"
    parts.append((path, name))
    (folder / path).mkdir()
    return folder / path


def _write_modules(folder: Path, parts: Sequence[tuple[str, str]]) -> None:
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(parts)
    ]
    write_json(folder / "modules.json", entries)


def _limits(tower: Encoder) -> Mapping[str, Any]:
    return {"max_seq_length": tower.max_tokens, "do_lower_case": tower.kept.lower_case}


def _pooling(size: int, modes: Sequence[str]) -> Mapping[str, Any]:
    return {"word_embedding_dimension": size, **{key: mode in modes for mode, key in _POOLING_KEYS.items()}}


def _denses(head: Iterable[nn.Module]) -> Iterable[Dense]:
    for layer in head:
        if isinstance(layer, Residual):
            yield from of_residual(layer)
        else:
            assert isinstance(layer, Dense), "a head is made of dense layers and residual blocks"
            yield layer


def _write_dense(dense: Dense, folder: Path) -> None:
    linear = dense.linear
    sizes = {"in_features": linear.in_features, "out_features": linear.out_features, "bias": linear.bias is not None}
    write_json(folder / "config.json", {**sizes, "activation_function": dense.activation})
    write_weights(folder, {f"linear.{name}": tensor for name, tensor in linear.state_dict().items()})


def append_denses(folder: Path, denses: Iterable[Dense], *, unit: bool) -> None:
    """Put dense layers behind a model that is there, on its unit embeddings.

    Args:
        folder: of the model; its list of modules is written anew.
        denses: layers, in the order in which they are applied.
        unit: whether embeddings are brought to length 1 at the end.
    """
    entries = read_json(folder / "modules.json")
    parts: list[tuple[str, str]] = [("", "")] * len(entries)  # `_part` numbers from what is there
    if not entries[-1]["type"].endswith("Normalize"):
        write_json(_part(folder, parts, "Normalize") / "config.json", {})
    for dense in denses:
        _write_dense(dense, _part(folder, parts, "Dense"))
    if unit:
        write_json(_part(folder, parts, "Normalize") / "config.json", {})
    added = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(parts)
        if name
    ]
    write_json(folder / "modules.json", [*entries, *added])
