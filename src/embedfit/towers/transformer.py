"""A BERT encoder from scratch, with sub-words learned from the data."""

from __future__ import annotations

__all__ = ["train_transformer"]

import json
from collections.abc import Sequence

import torch
from torch import nn

from embedfit.errors import ModelError
from embedfit.towers import tokenizer as subwords
from embedfit.towers.encoder import Encoder, Kept

_HEAD_SIZE = 64


def train_transformer(
    texts: Sequence[str], *, dimension: int, vocabulary: int, layers: int, dropout: float, max_tokens: int, seed: int
) -> Encoder:
    """An untrained encoder of BERT's make (Devlin et al. 2019) with mean pooling.

    Weights are drawn from a normal distribution of deviation 0.02, cut off at two deviations, as in BERT's own code.

    Args:
        texts: the training texts.
        dimension: size e of an embedding; a multiple of 64 makes heads of 64.
        vocabulary: number of sub-words, at most.
        layers: transformer layers.
        dropout: of hidden states and attention.
        max_tokens: longer texts are cut here, `[CLS]` and `[SEP]` included.
        seed: of all weights.

    Raises:
        ModelError: max_tokens leaves no room for a word.
    """
    from transformers import BertConfig, BertModel

    if max_tokens < 3:
        raise ModelError(
            f"model.max_tokens {max_tokens} leaves no room between [CLS] and [SEP]; expected 3 or more",
            hint="128 suits short texts",
        )
    tokenizer = subwords.train(texts, vocabulary=vocabulary, frame=True)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=dimension,
        num_hidden_layers=layers,
        num_attention_heads=dimension // _HEAD_SIZE if dimension % _HEAD_SIZE == 0 else 1,
        intermediate_size=4 * dimension,
        max_position_embeddings=max_tokens,
        type_vocab_size=1,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=subwords.SPECIAL.index("[PAD]"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config, add_pooling_layer=False)
        _initialise(model, config.initializer_range)
    kept = Kept(files=_tokenizer_files(tokenizer.to_str(), max_tokens), weights=_pooler(dimension))
    return Encoder(model, tokenizer, dimension=dimension, max_tokens=max_tokens, kept=kept)


def _tokenizer_files(tokenizer: str, max_tokens: int) -> dict[str, bytes]:
    """What transformers needs beside tokenizer.json, in names that versions 4 and 5 both know."""
    names = {f"{name.strip('[]').lower()}_token": name for name in subwords.SPECIAL}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_tokens, **names}
    return {
        "tokenizer.json": tokenizer.encode(),
        "tokenizer_config.json": json.dumps(settings, indent=1).encode(),
        "special_tokens_map.json": json.dumps(names, indent=1).encode(),
    }


def _initialise(model: nn.Module, deviation: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)


def _pooler(dimension: int) -> dict[str, torch.Tensor]:
    """Weights of the pooler that other libraries expect in a BERT folder; mean pooling never asks for its output."""
    return {"pooler.dense.weight": torch.zeros(dimension, dimension), "pooler.dense.bias": torch.zeros(dimension)}
