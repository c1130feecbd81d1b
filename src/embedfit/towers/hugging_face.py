"""Hugging Face folders: config.json, model.safetensors and the tokeniser's files. transformers is imported on use."""

from __future__ import annotations

__all__ = ["read_model", "read_tokenizer", "write_model"]

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers
from torch import Tensor, nn

from embedfit.errors import ModelError
from embedfit.towers import tokenizer as subwords
from embedfit.towers.encoder import Encoder, Kept
from embedfit.towers.files import NOT_WHOLE, missing_weights

_VOCABULARY_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
_TOKENIZER_FILES = (
    *_VOCABULARY_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
)
_DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
)


def read_model(folder: Path, *, dropout: float | None) -> tuple[nn.Module, dict[str, Tensor]]:
    """The model in fp32, and the weights of its pooler, which is taken out: no embedding of ours passes it.

    Args:
        folder: with config.json and safetensors.
        dropout: replaces every dropout of the config that is not about classifier heads.

    Raises:
        ModelError: a file is missing or broken, the kind of model is unknown, or weights are missing.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel

    if not (folder / "config.json").is_file():
        raise ModelError(
            f"'{folder}' lacks config.json", hint="expected a folder that save_pretrained wrote; was it copied whole?"
        )
    if not any(folder.glob("*.safetensors")):
        raise missing_weights(folder)
    try:
        with _quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            if dropout is not None:
                known = config.to_dict()
                config.update({name: dropout for name in _DROPOUTS if name in known})
            model, told = AutoModel.from_pretrained(
                folder, config=config, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        first = str(error).strip().splitlines()
        raise ModelError(
            f"'{folder}' cannot be loaded: {first[0] if first else type(error).__name__}",
            hint=NOT_WHOLE,
        ) from error
    missing = sorted(name for name in told["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ModelError(
            f"'{folder}' lacks {len(missing)} weights of its model, '{missing[0]}' among them",
            hint="was it copied whole?",
        )
    model = model.float()
    return model, _without_pooler(model)


def read_tokenizer(
    folder: Path, config: Any, settings: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> tuple[Tokenizer, Kept]:
    """The fast tokeniser, cut to the model's limit, and the files it came in.

    Args:
        folder: with tokenizer.json, or with what transformers makes one of.
        config: of the model; bounds the positions.
        settings: content of sentence_bert_config.json.
        weights: kept beside the files.

    Raises:
        ModelError: there is no tokeniser that can be used.
    """
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in _VOCABULARY_FILES):
        # transformers 5 would go on with an empty vocabulary, where every word is unknown.
        raise ModelError(f"'{folder}' has no tokeniser", hint="expected a tokenizer.json; was the folder copied whole?")
    try:
        with _quiet():
            whole = AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"'{folder}' has no tokeniser that can be loaded: {str(error).splitlines()[0]}",
            hint=NOT_WHOLE,
        ) from error
    if not whole.is_fast:
        raise ModelError(f"'{folder}' has only a slow tokeniser", hint="expected one with a tokenizer.json")
    tokenizer: Tokenizer = whole.backend_tokenizer
    if settings.get("do_lower_case") and "Lowercase" not in str(tokenizer.normalizer):
        parts = [normalizers.Lowercase(), *([tokenizer.normalizer] if tokenizer.normalizer else [])]
        tokenizer.normalizer = normalizers.Sequence(parts)
    longest = settings.get("max_seq_length")
    if longest is None:
        longest = whole.model_max_length
        positions = config.to_dict().get("max_position_embeddings", -1)
        if positions != -1:
            longest = min(longest, positions)
    subwords.limit(tokenizer, min(int(longest), subwords.UNLIMITED))
    files = {name: (folder / name).read_bytes() for name in _TOKENIZER_FILES if (folder / name).is_file()}
    return tokenizer, Kept(files=files, weights=dict(weights), lower_case=bool(settings.get("do_lower_case")))


def write_model(tower: Encoder, folder: Path) -> None:
    """config.json, model.safetensors and the tokeniser's files."""
    model: Any = tower.model
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with _quiet():
        model.save_pretrained(folder, state_dict={**state, **tower.kept.weights})
    for name, content in tower.kept.files.items():
        (folder / name).write_bytes(content)


def _without_pooler(model: nn.Module) -> dict[str, Tensor]:
    pooler = dict(model.named_children()).get("pooler")
    if pooler is None or "add_pooling_layer" not in inspect.signature(type(model).__init__).parameters:
        return {}
    weights = {f"pooler.{name}": tensor.clone() for name, tensor in pooler.state_dict().items()}
    model.register_module("pooler", None)
    return weights


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars or advice from transformers while it reads and writes; its settings are restored."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
