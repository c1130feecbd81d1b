"""The folder layout of sentence-transformers, read and written.

Written with the module names of version 2, which every version up to 6 still knows; weights are safetensors only.
"""

from __future__ import annotations

__all__ = ["expressible", "read", "read_fast_tokenizer", "read_json", "read_weights", "write", "write_router"]

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from embedfit.errors import ModelError
from embedfit.towers.bag import Residual
from embedfit.towers.base import Tower
from embedfit.towers.dense import ACTIVATIONS, Dense, of_residual
from embedfit.towers.encoder import POOLINGS, Encoder, Pooling
from embedfit.towers.hugging_face import read_model, read_tokenizer, write_model
from embedfit.towers.static import Static
from embedfit.towers.tokenizer import read_limit

_POOLING_KEYS: Mapping[str, str] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def expressible(tower: Tower) -> bool:
    """Whether sentence-transformers can hold this tower exactly."""
    return isinstance(tower, Static | Encoder)


# --- writing ----------------------------------------------------------------------------------------------------------


def write(tower: Tower, folder: Path) -> None:
    """Write a tower so that `SentenceTransformer(folder)` gives its unit-length embeddings.

    Args:
        tower: one that is `expressible`.
        folder: exists; may be empty.
    """
    parts: list[tuple[str, str]] = []
    match tower:
        case Static():
            _write_static(tower, _part(folder, parts, "StaticEmbedding"))
        case Encoder():
            write_model(tower, folder)
            parts.append(("", "Transformer"))
            _write_json(
                folder / "sentence_bert_config.json", {"max_seq_length": tower.max_tokens, "do_lower_case": False}
            )
            _write_pooling(tower, _part(folder, parts, "Pooling"))
        case _:
            raise ModelError(f"sentence-transformers has no part for a {type(tower).__name__} tower")
    for dense in _denses(tower.head):
        _write_dense(dense, _part(folder, parts, "Dense"))
    _write_json(_part(folder, parts, "Normalize") / "config.json", {})
    _write_json(folder / "modules.json", _modules(parts))
    _write_settings(folder)


def write_router(folder: Path, roles: Sequence[str]) -> None:
    """Join two towers in sub-folders: one `SentenceTransformer(folder)` that embeds queries and documents apart.

    Args:
        folder: above the towers; version 5 of sentence-transformers or later can read it, earlier ones each sub-folder.
        roles: names of the sub-folders, each written by `write`.
    """
    types: dict[str, str] = {}
    structure: dict[str, list[str]] = {}
    for role in roles:
        entries = read_json(folder / role / "modules.json")
        names = ["/".join(filter(None, (role, entry["path"]))) for entry in entries]
        structure[role] = names
        types |= {name: entry["type"] for name, entry in zip(names, entries, strict=True)}
    parameters = {"default_route": roles[-1], "allow_empty_key": True}
    _write_json(folder / "router_config.json", {"types": types, "structure": structure, "parameters": parameters})
    _write_json(folder / "modules.json", _modules([("", "Router")]))
    _write_settings(folder)


def _write_settings(folder: Path) -> None:
    settings: dict[str, Any] = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    _write_json(folder / "config_sentence_transformers.json", settings)


def _modules(parts: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The content of modules.json for parts given as (path, class name)."""
    return [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(parts)
    ]


def _part(folder: Path, parts: list[tuple[str, str]], name: str) -> Path:
    path = f"{len(parts)}_{name}"
    parts.append((path, name))
    (folder / path).mkdir()
    return folder / path


def _write_static(tower: Static, folder: Path) -> None:
    save_file({"embedding.weight": tower.table.detach().cpu().contiguous()}, folder / "model.safetensors")
    tower.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


def _write_pooling(tower: Encoder, folder: Path) -> None:
    config: Any = tower.model.config
    modes = {key: mode in tower.pooling for key, mode in _POOLING_KEYS.items()}
    _write_json(folder / "config.json", {"word_embedding_dimension": config.hidden_size, **modes})


def _denses(head: Iterable[nn.Module]) -> Iterable[Dense]:
    for layer in head:
        if isinstance(layer, Residual):
            yield from of_residual(layer)
        else:
            assert isinstance(layer, Dense), "a head is made of dense layers and residual blocks"
            yield layer


def _write_dense(dense: Dense, folder: Path) -> None:
    linear = dense.linear
    settings = {"in_features": linear.in_features, "out_features": linear.out_features, "bias": linear.bias is not None}
    _write_json(folder / "config.json", {**settings, "activation_function": dense.activation})
    weights = {f"linear.{name}": tensor.detach().cpu().contiguous() for name, tensor in linear.state_dict().items()}
    save_file(weights, folder / "model.safetensors")


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")


# --- reading ----------------------------------------------------------------------------------------------------------


def read(folder: Path, *, dropout: float | None = None, max_tokens: int | None = None) -> Tower:
    """The tower in a sentence-transformers folder, or in a plain Hugging Face folder (then with mean pooling).

    Args:
        folder: of the model.
        dropout: replaces the model's own.
        max_tokens: cuts texts shorter than the model itself would.

    Raises:
        ModelError: the folder is neither, lacks a file, or names a part that is not understood.
    """
    if not (folder / "modules.json").is_file():
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"'{folder}' is no model folder: it has neither modules.json nor config.json",
                hint="expected the folder of a sentence-transformers or Hugging Face model, or one that embedfit saved",
            )
        return _read_encoder(folder, folder, [], dropout, max_tokens)
    names = [_name_and_place(folder, entry) for entry in read_json(folder / "modules.json")]
    kinds = [name for name, _ in names]
    if kinds and kinds[-1] == "Normalize":  # similarity is cosine here: every embedding is brought to length 1 anyway
        names = names[:-1]
    if not names:
        raise ModelError(f"'{folder / 'modules.json'}' names no part")
    if names[0][0] == "StaticEmbedding":
        return _read_static(names[0][1], names[1:], dropout, max_tokens)
    if names[0][0] == "Transformer":
        return _read_encoder(names[0][1], folder, names[1:], dropout, max_tokens)
    raise ModelError(
        f"'{folder}' begins with a module '{names[0][0]}', which is not understood",
        hint="understood are Transformer with Pooling, and StaticEmbedding; either with Dense and Normalize",
    )


def _name_and_place(folder: Path, entry: Mapping[str, Any]) -> tuple[str, Path]:
    try:
        name, path = str(entry["type"]).rsplit(".", 1)[-1], str(entry["path"])
    except KeyError as error:
        raise ModelError(f"'{folder / 'modules.json'}': an entry lacks {error}") from None
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ModelError(f"'{folder / 'modules.json'}' points outside its folder: '{path}'")
    return name, folder / path


def _read_static(
    place: Path, rest: Sequence[tuple[str, Path]], dropout: float | None, max_tokens: int | None
) -> Static:
    tokenizer = read_fast_tokenizer(place)
    weights = read_weights(place)
    table = weights.get("embedding.weight")
    if table is None:
        table = _model2vec(place, weights)
    own = read_limit(tokenizer)
    head, dimension = _read_head(rest, table.shape[1])
    return Static(
        tokenizer,
        table.float(),
        max_tokens=min(own, max_tokens or own),
        dropout=dropout or 0.0,
        head=head,
        dimension=dimension,
    )


def _model2vec(place: Path, weights: Mapping[str, Tensor]) -> Tensor:
    """The table of a model2vec folder: `embeddings`, with its sharing of rows and weights of tokens folded in."""
    if "embeddings" not in weights:
        raise ModelError(f"'{place / 'model.safetensors'}' has no table: neither 'embedding.weight' nor 'embeddings'")
    table = weights["embeddings"].float()
    if "mapping" in weights:
        table = table[weights["mapping"].long()]
    return table * weights["weights"].float()[:, None] if "weights" in weights else table


def _read_encoder(
    place: Path, folder: Path, rest: Sequence[tuple[str, Path]], dropout: float | None, max_tokens: int | None
) -> Encoder:
    model, kept_weights = read_model(place, dropout=dropout)
    settings = read_json(place / "sentence_bert_config.json") if (place / "sentence_bert_config.json").is_file() else {}
    config: Any = model.config
    tokenizer, kept = read_tokenizer(place, config, settings, kept_weights)
    modes: tuple[Pooling, ...] = ("mean",)
    if rest:
        name, where = rest[0]
        if name != "Pooling":
            raise ModelError(f"'{folder}' has a module '{name}' after Transformer; only Pooling is understood there")
        modes = _read_pooling(where)
    head, dimension = _read_head(rest[1:], config.hidden_size * len(modes))
    own = read_limit(tokenizer)
    return Encoder(
        model,
        tokenizer,
        dimension=dimension,
        max_tokens=min(own, max_tokens or own),
        pooling=modes,
        head=head,
        kept=kept,
    )


def _read_pooling(folder: Path) -> tuple[Pooling, ...]:
    config = read_json(folder / "config.json")
    named = config.get("pooling_mode") or [mode for key, mode in _POOLING_KEYS.items() if config.get(key)] or "mean"
    modes = [named] if isinstance(named, str) else named
    for mode in modes:
        if mode not in POOLINGS:
            raise ModelError(
                f"'{folder}' pools by '{mode}', which is not understood", hint=f"understood are {', '.join(POOLINGS)}"
            )
    return tuple(modes)


def _read_head(rest: Sequence[tuple[str, Path]], size: int) -> tuple[list[Dense], int]:
    head: list[Dense] = []
    for name, place in rest:
        if name != "Dense":
            raise ModelError(
                f"'{place.parent}' has a module '{name}' at '{place.name}', which is not understood there",
                hint="understood after pooling are Dense, and Normalize at the end",
            )
        head.append(_read_dense(place, size))
        size = head[-1].linear.out_features
    return head, size


def _read_dense(folder: Path, size: int) -> Dense:
    config = read_json(folder / "config.json")
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    strange = [
        key
        for key in ("module_input_name", "module_output_name")
        if config.get(key, "sentence_embedding") != "sentence_embedding"
    ]
    if config.get("use_residual"):
        strange.append("use_residual")
    if name not in ACTIVATIONS:
        strange.append(f"activation_function = {name}")
    if strange:
        raise ModelError(f"'{folder}' is a Dense module with {', '.join(strange)}, which is not understood")
    if config["in_features"] != size:
        raise ModelError(f"'{folder}' expects {config['in_features']} features and is given {size}")
    weights = read_weights(folder)
    linear = nn.Linear(size, config["out_features"], bias=config.get("bias", True))
    linear.load_state_dict({key.removeprefix("linear."): tensor.float() for key, tensor in weights.items()})
    return Dense(linear, name)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of model.safetensors.

    Raises:
        ModelError: there are none, they are cut short, or only a pickle is there.
    """
    path = folder / "model.safetensors"
    if not path.is_file():
        pickled = sorted(p.name for p in folder.glob("*.bin"))
        if pickled:
            raise ModelError(
                f"'{folder}' holds its weights only as '{pickled[0]}', a pickle, which may run any code when read",
                hint="convert it to safetensors where you trust it: `model.save_pretrained(folder)` does so",
            )
        raise ModelError(f"'{folder}' lacks model.safetensors")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"'{path}' is broken: {error}", hint="was it copied whole?") from None


def read_fast_tokenizer(folder: Path) -> Tokenizer:
    """The tokeniser of tokenizer.json.

    Raises:
        ModelError: it is missing or broken.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(f"'{folder}' lacks tokenizer.json")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelError(f"'{path}' is broken: {error}") from None


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ModelError: it is missing or broken.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(f"'{path.parent}' lacks {path.name}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"'{path}' is broken: {error}", hint="was it copied whole?") from None
