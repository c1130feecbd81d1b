"""`Ngram`: weighted sums of embeddings of surface features (words, word pairs, letter n-grams), after DSSM.

The untrained embedding is a random projection of TF-IDF: rows are random unit vectors, weights are inverse document
frequencies, and random directions are nearly orthogonal (Johnson-Lindenstrauss). So training starts where the lexical
baseline stands, up to noise of 1 / sqrt(e), instead of far below it.

DSSM (Huang et al. 2013, section 3.2) hashes letter trigrams to keep the input small. Here every feature that several
training texts share has a row of its own; only the others, rare and unseen ones, share hashed rows.

Axes: n texts, t features of all texts, v rows, p parts, e dimensions of an embedding.
"""

from __future__ import annotations

__all__ = ["Ngram", "train_ngram"]

import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from embedfit.errors import ModelError
from embedfit.towers.bag import survivors
from embedfit.towers.base import Tower
from embedfit.towers.features import Features, family
from embedfit.types import Tokens

HASHED = 4_096
"""Rows that rare and unseen features share."""
FEW_TEXTS = 3_000
"""Up to so many training texts every feature gets a row: a word that one text has is most of what tells it apart."""

CHARACTERS = 65_536
"""At least so many characters of a text are read, and eight for every feature that is kept: ordinary texts are read
whole, and a whole file in one cell costs no more than a long text does."""

SPELLING = ("letters", "unspaced")


class Ngram(Tower):
    """Weighted sum of the rows of a text's features, one for each part, every part scaled to length 1.

    Several parts are an ensemble in one vector: each has rows of its own, loses other features in training, and is
    trained as an embedding of its own; their cosines average.

    Args:
        features: which features are taken.
        vocabulary: the features with a row of their own; row i belongs to `vocabulary[i]`. `HASHED` rows follow.
        idf: inverse document frequency of each row.
        spelling: whether a row is of the letters of words (true) or of whole words and their pairs (false); the two
            kinds weigh the same in a text, however many n-grams its words have.
        table: the rows of each part; becomes a trained parameter.
        max_tokens: a text's features beyond this number are cut.
        dropout: share of a text's features left out in training.
    """

    def __init__(
        self,
        features: Features,
        vocabulary: Sequence[str],
        *,
        idf: Float[Tensor, " v"],
        spelling: Bool[Tensor, " v"],
        table: Float[Tensor, "p v e_part"],
        max_tokens: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.features = features
        self.vocabulary = tuple(vocabulary)
        self.parts = table.shape[0]
        self.dimension = self.parts * table.shape[2]
        self.max_tokens = max_tokens
        self.dropout = dropout
        self.register_buffer("idf", idf)
        self.register_buffer("spelling", spelling)
        # one parameter a part: the optimiser then walks through memory that a part's step has just touched
        self.tables = nn.ParameterList(nn.Parameter(part.detach().clone()) for part in table)
        self.gain = nn.Parameter(torch.zeros(self.parts, len(idf)))
        self._row = {feature: i for i, feature in enumerate(self.vocabulary)}

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Rows of the features of each text, each once, in reading order."""
        rows = [row[: self.max_tokens] for row in self._rows(texts)]
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        return Tokens(torch.tensor(list(chain.from_iterable(rows)), dtype=torch.long), lengths)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Different features of each text before it is cut.

        Of a text with more characters than are read (see `CHARACTERS`) the least that it can have: those of its
        beginning, and more than `max_tokens`, since the rest is cut.
        """
        end, least = _characters(self.max_tokens), self.max_tokens + 1
        counts = [len(row) for row in self._rows(texts)]
        return [max(n, least) if len(text) > end else n for n, text in zip(counts, texts, strict=True)]

    def forward(self, tokens: Tokens) -> Float[Tensor, "n e"]:
        """The parts end to end, each of length 1 / sqrt(p); the zero vector for a text without features."""
        text = torch.repeat_interleave(torch.arange(len(tokens), device=tokens.ids.device), tokens.lengths)
        weight = self._weights(tokens, text)
        out = [
            self._part(table, gain, tokens.ids, weight, text, len(tokens))
            for table, gain in zip(self.tables, self.gain, strict=True)
        ]
        return torch.cat(out, dim=-1) / self.parts**0.5

    def _part(self, table: Tensor, gain: Tensor, ids: Tensor, weight: Tensor, text: Tensor, count: int) -> Tensor:
        """One part of length 1 for each of `count` texts."""
        if self.training and self.dropout:
            kept = survivors(text, count, self.dropout).nonzero()[:, 0]
            ids, weight, text = ids[kept], weight[kept], text[kept]
        lengths = torch.bincount(text, minlength=count)
        touched, place = torch.unique(ids, return_inverse=True)
        rows = F.embedding(touched, table, sparse=True)  # the gradient then holds these rows alone
        weight = weight * (1 + gain[ids])
        part = F.embedding_bag(place, rows, lengths.cumsum(0) - lengths, mode="sum", per_sample_weights=weight)
        return F.normalize(part, dim=-1)

    def _weights(self, tokens: Tokens, text: Tensor) -> Float[Tensor, " t"]:
        """IDF of each feature; those of whole words and those of spelling have length sqrt(1/2) in a text."""
        idf: Tensor = self.idf[tokens.ids]  # type: ignore[index]
        kind = 2 * text + self.spelling[tokens.ids]  # type: ignore[index]
        squares = idf.new_zeros(2 * len(tokens)).index_add_(0, kind, idf * idf)
        return idf * (0.5 / squares).sqrt()[kind]

    def _rows(self, texts: Sequence[str]) -> list[list[int]]:
        # words come again and again, their n-grams with them: each is looked up once per call
        row, size, met = self._row, len(self.vocabulary), dict[str, list[int]]()

        def other(names: list[str]) -> list[int]:
            return [row[name] if name in row else size + zlib.crc32(name.encode()) % HASHED for name in names]

        def word(piece: str) -> list[int]:
            known = met.get(piece)
            if known is None:
                known = met[piece] = other(self.features.of_word(piece))
            return known

        end = _characters(self.max_tokens)
        found = (self.features.numbers(text[:end], word, other) for text in texts)
        return [list(dict.fromkeys(chain.from_iterable(numbers))) for numbers in found]


def train_ngram(
    texts: Sequence[str], *, dimension: int, vocabulary: int, parts: int, dropout: float, max_tokens: int, seed: int
) -> Ngram:
    """A tower that gives rows to the features that two texts share (where texts are few, to all), frequent ones first.

    Args:
        texts: the training texts.
        dimension: size e of an embedding; a multiple of `parts`.
        vocabulary: number of features with a row of their own, at most.
        parts: embeddings in the embedding.
        dropout: share of a text's features left out in training.
        max_tokens: a text's features beyond this number are cut.
        seed: of the rows.

    Raises:
        ModelError: the texts hold no feature, or the dimension cannot be divided into the parts.
    """
    if dimension % parts:
        raise ModelError(
            f"a dimension of {dimension} cannot be divided into {parts} equal parts",
            hint=f"for example {dimension // parts * parts or parts}",
        )
    features = Features(shortest=2, unspaced=2)
    end = _characters(max_tokens)
    counts = _frequencies(features, [text[:end] for text in texts])
    if not counts:
        raise ModelError(
            f"got {len(texts)} texts without a single word",
            hint="look at the text columns: `embedfit audit DATA` shows them",
        )
    least = 1 if len(texts) <= FEW_TEXTS else 2
    shared = sorted((name for name, count in counts.items() if count >= least), key=lambda name: (-counts[name], name))
    names = shared[:vocabulary]
    frequency = torch.tensor([*(counts[name] for name in names), *([1.0] * HASHED)])
    idf = 1 + torch.log((1 + len(texts)) / (1 + frequency))
    own = torch.tensor([family(name) in SPELLING for name in names], dtype=torch.bool)
    # most of the rare features are n-grams of rare words
    spelling = torch.cat([own, torch.ones(HASHED, dtype=torch.bool)])
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(parts, len(idf), dimension // parts, generator=generator)
    return Ngram(
        features,
        names,
        idf=idf,
        spelling=spelling,
        table=F.normalize(table, dim=-1),
        max_tokens=max_tokens,
        dropout=dropout,
    )


def _characters(max_tokens: int) -> int:
    """How many characters of a text are read."""
    return max(CHARACTERS, 8 * max_tokens)


def _frequencies(features: Features, texts: Sequence[str]) -> Counter[str]:
    """In how many texts each feature is."""
    counts: Counter[str] = Counter()
    for text in texts:
        found: set[str] = set()

        def add(names: list[str], found: set[str] = found) -> list[int]:
            found.update(names)
            return []

        for _ in features.numbers(text, lambda piece, add=add: add(features.of_word(piece)), add):  # type: ignore[misc]
            pass
        counts.update(found)
    return counts
