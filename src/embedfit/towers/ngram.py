"""`Ngram`: the mean of embeddings of surface features (words, word pairs, letter n-grams), after DSSM.

DSSM (Huang et al. 2013, section 3.2) hashes letter trigrams to keep the input small. Here every feature that the
training texts hold has a row of its own as long as the vocabulary has room, so none share one by accident.
"""

from __future__ import annotations

__all__ = ["Ngram", "train_ngram"]

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, islice

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from embedfit.errors import ModelError
from embedfit.towers.bag import Residual, idf, mean_rows, unit_rows
from embedfit.towers.base import Tower
from embedfit.towers.features import Family, Features, family
from embedfit.types import Tokens

WEIGHT: Mapping[Family, float] = {"word": 1.0, "pair": 0.5, "letters": 0.3, "unspaced": 1.0}
"""How long a row starts beside its inverse document frequency. A word brings about ten letter n-grams with it."""


class Ngram(Tower):
    """Mean of the embeddings of a text's known features, then residual blocks. Unknown features are passed over.

    Args:
        features: which features are taken.
        vocabulary: the known features; row i belongs to `vocabulary[i]`.
        table: one embedding per feature; becomes a trained parameter.
        max_tokens: a text's features beyond this number are cut.
        dropout: share of a text's features left out in training.
        blocks: residual blocks after the mean.
    """

    def __init__(
        self,
        features: Features,
        vocabulary: Sequence[str],
        table: Float[Tensor, "v e"],
        *,
        max_tokens: int,
        dropout: float = 0.0,
        blocks: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.features = features
        self.vocabulary = tuple(vocabulary)
        self.dimension = table.shape[1]
        self.max_tokens = max_tokens
        self.dropout = dropout
        self.table = nn.Parameter(table.detach().clone())
        self.blocks = nn.Sequential(*blocks)
        self._row = {feature: i for i, feature in enumerate(self.vocabulary)}

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Rows of the known features of each text, in reading order."""
        return _tokens([row[: self.max_tokens] for row in self._rows(texts)])

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Known features of each text before it is cut."""
        return [len(row) for row in self._rows(texts)]

    def forward(self, tokens: Tokens) -> Float[Tensor, "n e"]:
        """The blocks of the mean embedding; of the zero vector for a text without a known feature."""
        return self.blocks(mean_rows(self.table, tokens, dropout=self.dropout if self.training else 0.0))

    def _rows(self, texts: Sequence[str]) -> list[list[int]]:
        # Words come again and again, their n-grams with them: each is looked up once per call.
        row, met = self._row, dict[str, list[int]]()

        def other(names: list[str]) -> list[int]:
            return [row[name] for name in names if name in row]

        def word(piece: str) -> list[int]:
            known = met.get(piece)
            if known is None:
                known = met[piece] = other(self.features.of_word(piece))
            return known

        return [list(chain.from_iterable(self.features.numbers(text, word, other))) for text in texts]


def train_ngram(
    texts: Sequence[str], *, dimension: int, vocabulary: int, layers: int, dropout: float, max_tokens: int, seed: int
) -> Ngram:
    """A tower that knows the features of the texts, the frequent ones first; rows are random directions times IDF.

    Args:
        texts: the training texts.
        dimension: size e of an embedding.
        vocabulary: number of features, at most.
        layers: residual blocks after the mean.
        dropout: share of a text's features left out in training.
        max_tokens: a text's features beyond this number are cut.
        seed: of the rows and blocks.

    Raises:
        ModelError: the texts hold no feature.
    """
    features = Features()
    names = _frequent(features, texts, vocabulary)
    if not names:
        raise ModelError(
            f"got {len(texts)} texts without a single word",
            hint="look at the text columns: `embedfit audit DATA` shows them",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blocks = [Residual(dimension, dimension) for _ in range(layers)]
    blank = Ngram(features, names, torch.zeros(len(names), 1), max_tokens=max_tokens)
    weight = torch.tensor([WEIGHT[family(name)] for name in names])
    table = unit_rows(idf(_tokens(blank._rows(texts)), len(names)) * weight, dimension, seed=seed)
    return Ngram(features, names, table, max_tokens=max_tokens, dropout=dropout, blocks=blocks)


def _frequent(features: Features, texts: Sequence[str], size: int) -> list[str]:
    counts: Counter[str] = Counter()
    words: Counter[str] = Counter()

    def word(piece: str) -> list[int]:
        words[piece] += 1
        return []

    def other(names: list[str]) -> list[int]:
        counts.update(names)
        return []

    for text in texts:
        for _ in features.numbers(text, word, other):
            pass
    for piece, number in words.items():
        for name in features.of_word(piece):
            counts[name] += number
    return list(islice(sorted(counts, key=lambda name: (-counts[name], name)), size))


def _tokens(rows: Sequence[list[int]]) -> Tokens:
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    flat = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=int(lengths.sum()))
    return Tokens(torch.from_numpy(flat), lengths)
