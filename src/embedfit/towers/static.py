"""`Static`: the mean of trained sub-word embeddings. Fast on a CPU, and sentence-transformers can express it."""

from __future__ import annotations

__all__ = ["Static", "train_static"]

from collections.abc import Sequence

import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor, nn

from embedfit.towers import tokenizer as subwords
from embedfit.towers.bag import Residual, embed, idf, unit_rows
from embedfit.towers.base import Tower
from embedfit.types import Tokens


class Static(Tower):
    """Mean of sub-word embeddings, then dense layers and residual blocks.

    Args:
        tokenizer: sub-words; its truncation is set to `max_tokens`.
        table: one embedding per sub-word; becomes a trained parameter.
        max_tokens: longer texts are cut here.
        dropout: share of a text's sub-words left out in training.
        head: layers after the mean, from e of the table to e of the tower.
        dimension: size of an embedding after the head.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        table: Float[Tensor, "v e"],
        *,
        max_tokens: int,
        dropout: float = 0.0,
        head: Sequence[nn.Module] = (),
        dimension: int | None = None,
    ) -> None:
        super().__init__()
        self.dimension = table.shape[1] if dimension is None else dimension
        self.max_tokens = max_tokens
        self.dropout = dropout
        self.tokenizer = tokenizer
        subwords.limit(tokenizer, max_tokens)
        self.table = nn.Parameter(table.detach().clone())
        self.head = nn.Sequential(*head)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Sub-words of each text, cut to `max_tokens`."""
        return subwords.encode(self.tokenizer, texts, special=False)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Sub-words of each text before it is cut."""
        return subwords.count(self.tokenizer, texts, special=False)

    def forward(self, tokens: Tokens) -> Float[Tensor, "n e"]:
        """The head of the mean embedding; of the zero vector for an empty text."""
        return embed(self.table, self.head, tokens, dropout=self.dropout if self.training else 0.0)


def train_static(
    texts: Sequence[str], *, dimension: int, vocabulary: int, layers: int, dropout: float, max_tokens: int, seed: int
) -> Static:
    """A tower whose sub-words are learned from the texts and whose rows start as random directions times IDF.

    Args:
        texts: the training texts.
        dimension: size e of an embedding.
        vocabulary: number of sub-words, at most.
        layers: residual blocks after the mean.
        dropout: share of a text's sub-words left out in training.
        max_tokens: longer texts are cut here.
        seed: of the rows and blocks.
    """
    tokenizer = subwords.train(texts, vocabulary=vocabulary)
    tokens = subwords.encode(tokenizer, texts, special=False)
    scale = idf(tokens, tokenizer.get_vocab_size())
    scale[: len(subwords.SPECIAL)] = 0
    # An unknown character says little until training finds that it does; nothing at all would leave a text of such
    # characters the zero vector, which has no direction to be turned from.
    scale[subwords.SPECIAL.index("[UNK]")] = 0.1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = [Residual(dimension, dimension) for _ in range(layers)]
    table = unit_rows(scale, dimension, seed=seed)
    return Static(tokenizer, table, max_tokens=max_tokens, dropout=dropout, head=head)
