"""`Recurrent`: sub-words through a GRU or LSTM.

`lstm` follows the DSSM recipe of Palangi et al. (2016, LSTM-DSSM): one direction, and the state after the last word is
the embedding. `gru` reads both ways and averages its states, which learns faster from few texts.
"""

from __future__ import annotations

__all__ = ["Recurrent", "RecurrentShape", "train_recurrent"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from embedfit.towers import tokenizer as subwords
from embedfit.towers.base import Tower
from embedfit.towers.gated import gated
from embedfit.types import Tokens

_PAD = subwords.SPECIAL.index("[PAD]")
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentShape:
    """Sizes and habits of a recurrent tower.

    Attributes:
        cell: gru or lstm.
        dimension: size e of an embedding; also of the sub-word embeddings.
        hidden: size of the state in one direction.
        layers: recurrent layers, one above the other.
        both_ways: whether the text is read backwards too.
        pooling: mean of the states, or the last one.
        dropout: dropout of the sub-word embeddings and between layers.
        max_tokens: longer texts are cut here.
    """

    cell: Literal["gru", "lstm"]
    dimension: int
    hidden: int
    layers: int
    both_ways: bool
    pooling: Literal["mean", "last"]
    dropout: float
    max_tokens: int


class Recurrent(Tower):
    """Sub-word embeddings, a GRU or LSTM over packed sequences, pooling, a linear layer.

    Args:
        tokenizer: sub-words; its truncation is set to `max_tokens`.
        shape: sizes and habits.
    """

    def __init__(self, tokenizer: Tokenizer, shape: RecurrentShape) -> None:
        super().__init__()
        self.dimension = shape.dimension
        self.max_tokens = shape.max_tokens
        self.shape = shape
        self.tokenizer = tokenizer
        subwords.limit(tokenizer, shape.max_tokens)
        self.embedding = nn.Embedding(tokenizer.get_vocab_size(), shape.dimension)
        self.dropout = nn.Dropout(shape.dropout)
        self.cells = (nn.GRU if shape.cell == "gru" else nn.LSTM)(
            shape.dimension,
            shape.hidden,
            num_layers=shape.layers,
            bidirectional=shape.both_ways,
            dropout=shape.dropout if shape.layers > 1 else 0.0,
            batch_first=True,
        )
        self.project = nn.Linear(shape.hidden * (2 if shape.both_ways else 1), shape.dimension)
        self._initialise()

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Sub-words of each text, cut to `max_tokens`."""
        return subwords.encode(self.tokenizer, texts, special=False)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Sub-words of each text before it is cut."""
        return subwords.count(self.tokenizer, texts, special=False)

    def forward(self, tokens: Tokens) -> Float[Tensor, "n e"]:
        """The projected mean or last state; an empty text is read as one `[PAD]` by the mean, has no last state."""
        if not len(tokens):
            return self.project.weight.new_zeros(0, self.dimension)
        lengths = tokens.lengths.clamp_min(1)
        words = self.dropout(self.embedding(tokens.padded(_PAD)))
        packed = pack_padded_sequence(words, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, last = self._states(packed)
        if self.shape.pooling == "mean":
            padded, _ = pad_packed_sequence(states, batch_first=True)
            return self.project(padded.sum(1) / lengths[:, None])
        return self.project(last * (tokens.lengths > 0)[:, None])

    def _states(self, packed: PackedSequence) -> tuple[PackedSequence, Float[Tensor, "n h"]]:
        """States of all tokens, and those after the last one in the order of the texts."""
        data = packed.data
        directions = 2 if self.shape.both_ways else 1
        if self.shape.cell == "gru" and data.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            data, last = self._gated(data, packed.batch_sizes.tolist())
            assert packed.unsorted_indices is not None
            return packed._replace(data=data), last[packed.unsorted_indices]
        states, found = self.cells(packed)
        final = found[0] if self.shape.cell == "lstm" else found
        return states, final[-directions:].transpose(0, 1).flatten(1)

    def _gated(self, data: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
        """The same of a GRU by `gated`, whose backward pass is up to twice as fast as torch's on a CPU."""
        weights = dict(self.cells.named_parameters())
        for layer in range(self.shape.layers):
            if layer:
                data = F.dropout(data, self.shape.dropout, self.training)
            found = [
                gated(data, sizes, [weights[f"{name}_l{layer}{end}"] for name in NAMES], backwards=bool(end))
                for end in (("", "_reverse") if self.shape.both_ways else ("",))
            ]
            data = torch.cat([states for states, _ in found], 1)
        return data, torch.cat([last for _, last in found], 1)

    def _initialise(self) -> None:
        """Glorot for inputs, orthogonal for recurrences, forget gates open (Jozefowicz et al. 2015)."""
        for name, parameter in self.cells.named_parameters():
            if name.startswith("weight_hh"):
                for gate in parameter.chunk(4 if self.shape.cell == "lstm" else 3):
                    nn.init.orthogonal_(gate)
            elif name.startswith("weight_ih"):
                for gate in parameter.chunk(4 if self.shape.cell == "lstm" else 3):
                    nn.init.xavier_uniform_(gate)
            else:
                nn.init.zeros_(parameter)
                if self.shape.cell == "lstm" and name.startswith("bias_ih"):
                    nn.init.ones_(parameter[self.shape.hidden : 2 * self.shape.hidden])
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.zeros_(self.project.bias)


def train_recurrent(texts: Sequence[str], shape: RecurrentShape, *, vocabulary: int, seed: int) -> Recurrent:
    """A tower whose sub-words are learned from the texts.

    Args:
        texts: the training texts.
        shape: sizes and habits.
        vocabulary: number of sub-words, at most.
        seed: of all weights.
    """
    tokenizer = subwords.train(texts, vocabulary=vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Recurrent(tokenizer, shape)
