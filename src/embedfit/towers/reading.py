"""Reads folders of sentence-transformers (any version) and of Hugging Face (then with mean pooling)."""

from __future__ import annotations

__all__ = ["Prompts", "read", "read_prompts"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, nn

from embedfit.errors import ModelError
from embedfit.towers.base import Tower
from embedfit.towers.dense import ACTIVATIONS, Dense
from embedfit.towers.encoder import Encoder, Pooling
from embedfit.towers.files import NOT_WHOLE, read_json, read_tokenizer_file, read_weights
from embedfit.towers.hugging_face import read_model, read_tokenizer
from embedfit.towers.lstm_folder import read_lstm
from embedfit.towers.static import Static
from embedfit.towers.tokenizer import read_limit

_LEGACY_POOLING = {
    # In the order in which sentence-transformers concatenates them.
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_UNDERSTOOD = "understood are Transformer with Pooling, and StaticEmbedding; either with Dense and Normalize"
_OWN_KEY = "sentence_embedding"

_Part = tuple[str, Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What a model wants to be put before a text.

    Attributes:
        query: before a query.
        document: before a document.
    """

    query: str = ""
    document: str = ""


def read(folder: Path, *, dropout: float | None = None, max_tokens: int | None = None) -> Tower:
    """The tower in a model folder, without its prompts.

    Args:
        folder: in the layout of sentence-transformers, or a plain Hugging Face folder.
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
        return _read_encoder(("Transformer", folder), [], dropout, max_tokens)
    parts = [_part(folder, entry) for entry in read_json(folder / "modules.json")]
    if (
        parts and parts[-1][0] == "Normalize"
    ):  # cosine is the similarity here: embeddings are brought to length 1 anyway
        parts = parts[:-1]
    match parts:
        case [("StaticEmbedding", _) as first, *rest]:
            return _read_static(first, rest, dropout, max_tokens)
        case [("Transformer", _) as first, ("Pooling", _), *_]:
            return _read_encoder(first, parts[1:], dropout, max_tokens)
        case [("WordEmbeddings", words), ("LSTM", cells), ("Pooling", pooling), *rest]:
            hidden = int(read_json(cells / "lstm_config.json")["hidden_dim"])
            return read_lstm(words, cells, _read_pooling(pooling), _read_head(rest, hidden)[0], max_tokens)
        case [("Router", _), *_]:
            raise ModelError(f"'{folder}' holds two towers", hint="give the sub-folder of one of them")
        case [("Transformer", _), *rest]:
            raise ModelError(f"'{folder}' has {_named(rest)} after its Transformer", hint=_UNDERSTOOD)
    raise ModelError(f"'{folder}' begins with {_named(parts)}, which is not understood", hint=_UNDERSTOOD)


def read_prompts(folder: Path) -> Prompts:
    """The prompts of a sentence-transformers folder: by role, else the default one for both, else none."""
    path = folder / "config_sentence_transformers.json"
    if not path.is_file():
        return Prompts()
    config = read_json(path)
    prompts = {name: prompt for name, prompt in (config.get("prompts") or {}).items() if prompt}
    default = prompts.get(config.get("default_prompt_name"), "")
    names = ("document", "passage", "corpus")
    document = next((prompts[name] for name in names if name in prompts), default)
    return Prompts(query=prompts.get("query", default), document=document)


def _part(folder: Path, entry: Mapping[str, Any]) -> _Part:
    try:
        name, path = str(entry["type"]).rsplit(".", 1)[-1], Path(str(entry["path"]))
    except (KeyError, TypeError):
        raise ModelError(
            f"'{folder / 'modules.json'}': an entry lacks its type or path: {entry}",
            hint=NOT_WHOLE,
        ) from None
    if path.is_absolute() or ".." in path.parts:
        raise ModelError(
            f"'{folder / 'modules.json'}' points outside its folder: '{path}'",
            hint="do not use a model that reads other folders than its own",
        )
    return name, folder / path


def _named(parts: Sequence[_Part]) -> str:
    return f"the module '{parts[0][0]}'" if parts else "no module"


def _read_static(first: _Part, rest: Sequence[_Part], dropout: float | None, max_tokens: int | None) -> Static:
    _, place = first
    tokenizer = read_tokenizer_file(place)
    table = _table(place, read_weights(place))
    own = read_limit(tokenizer)
    head, dimension = _read_head(rest, table.shape[1])
    return Static(
        tokenizer,
        table,
        max_tokens=min(own, max_tokens or own),
        dropout=dropout or 0.0,
        head=head,
        dimension=dimension,
    )


def _table(place: Path, weights: Mapping[str, Tensor]) -> Tensor:
    """One row per token; of a model2vec folder, with its sharing of rows and weights of tokens folded in."""
    if "embedding.weight" in weights:
        return weights["embedding.weight"].float()
    if "embeddings" not in weights:
        raise ModelError(
            f"'{place / 'model.safetensors'}' has no table: neither 'embedding.weight' nor 'embeddings'",
            hint="expected a static embedding of sentence-transformers or model2vec",
        )
    table = weights["embeddings"].float()
    if "mapping" in weights:
        table = table[weights["mapping"].long()]
    return table * weights["weights"].float()[:, None] if "weights" in weights else table


def _read_encoder(first: _Part, rest: Sequence[_Part], dropout: float | None, max_tokens: int | None) -> Encoder:
    _, place = first
    model, unused = read_model(place, dropout=dropout)
    settings = place / "sentence_bert_config.json"
    config: Any = model.config
    tokenizer, kept = read_tokenizer(place, config, read_json(settings) if settings.is_file() else {}, unused)
    pooling: tuple[Pooling, ...] = _read_pooling(rest[0][1]) if rest else ("mean",)
    head, dimension = _read_head(rest[1:], config.hidden_size * len(pooling))
    own = read_limit(tokenizer)
    return Encoder(
        model,
        tokenizer,
        dimension=dimension,
        max_tokens=min(own, max_tokens or own),
        pooling=pooling,
        head=head,
        kept=kept,
    )


def _read_pooling(folder: Path) -> tuple[Pooling, ...]:
    config = read_json(folder / "config.json")
    named = config.get("pooling_mode") or [mode for key, mode in _LEGACY_POOLING.items() if config.get(key)] or "mean"
    modes = (named,) if isinstance(named, str) else tuple(named)
    for mode in modes:
        if mode not in get_args(Pooling):
            hint = f"understood are {', '.join(get_args(Pooling))}"
            raise ModelError(f"'{folder}' pools by '{mode}', which is not understood", hint=hint)
    if not config.get("include_prompt", True):
        raise ModelError(
            f"'{folder}' pools without the prompt (include_prompt), which is not understood",
            hint="set include_prompt to true in its config.json where the difference does not matter",
        )
    return modes


def _read_head(rest: Sequence[_Part], size: int) -> tuple[list[Dense], int]:
    head: list[Dense] = []
    for name, place in rest:
        if name != "Dense":
            raise ModelError(f"'{place.parent}' has a module '{name}' that is not understood there", hint=_UNDERSTOOD)
        head.append(_read_dense(place, size))
        size = head[-1].linear.out_features
    return head, size


def _read_dense(folder: Path, size: int) -> Dense:
    config = read_json(folder / "config.json")
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    strange = [key for key in ("module_input_name", "module_output_name") if config.get(key, _OWN_KEY) != _OWN_KEY]
    strange += ["use_residual"] if config.get("use_residual") else []
    strange += [name] if name not in ACTIVATIONS else []
    if strange:
        raise ModelError(
            f"'{folder}' is a Dense module with {', '.join(strange)}, which is not understood",
            hint=f"understood are {', '.join(ACTIVATIONS)} on the embedding of the text",
        )
    weights = {key.removeprefix("linear."): tensor.float() for key, tensor in read_weights(folder).items()}
    linear = nn.Linear(size, config["out_features"], bias="bias" in weights)
    try:
        linear.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            f"'{folder}' does not fit {size} features before it: {error}",
            hint=NOT_WHOLE,
        ) from None
    return Dense(linear, name)
