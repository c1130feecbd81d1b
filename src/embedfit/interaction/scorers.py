"""`CrossEncoder` and `MaxSim`: similarities that need both texts at hand.

Their values lie between -1 and 1 as cosines do, so that every `Loss` takes them. What is gained is that words of the
two texts meet; what it costs is that nothing (a cross-encoder) or one vector per token (late interaction) of a document
can be worked out before the query is there. They re-rank what two towers have found.

Axes: n pairs, q queries, d documents, t tokens of a text, e dimensions.
"""

from __future__ import annotations

__all__ = ["CrossEncoder", "MaxSim", "Scorer"]

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn.functional import normalize

from embedfit.errors import DataError, ModelError
from embedfit.towers import Encoder
from embedfit.types import Tokens

NONE = -2.0  # below every cosine


class Scorer(nn.Module, ABC):
    """Two texts to one similarity.

    Args:
        encoder: reads the texts; trained with the rest.

    Attributes:
        most: tokens of one text, at most; longer ones are cut there.
    """

    def __init__(self, encoder: Encoder, *, most: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.most = most

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Token ids of each text, cut to `most`."""
        tokens = self.encoder.tokenize(texts)
        place = torch.arange(len(tokens.ids)) - tokens.starts().repeat_interleave(tokens.lengths)
        return Tokens(tokens.ids[place < self.most], tokens.lengths.clamp(max=self.most))

    @abstractmethod
    def paired(self, query: Tokens, document: Tokens) -> Float[Tensor, " n"]:
        """Similarity of each query with its own document."""

    @abstractmethod
    def crossed(self, query: Tokens, document: Tokens) -> Float[Tensor, "q d"]:
        """Similarity of every query with every document."""

    @property
    def device(self) -> torch.device:
        """Where its weights lie; texts are read there."""
        return next(self.parameters()).device

    def score(
        self, queries: Sequence[str], documents: Sequence[str], *, batch_size: int = 64
    ) -> Float32[np.ndarray, " n"]:
        """Similarity of each query with its own document, without dropout; the mode is restored afterwards.

        Args:
            queries: any texts.
            documents: as many.
            batch_size: pairs that are read at once.

        Raises:
            DataError: the two differ in number.
        """
        if len(queries) != len(documents):
            raise DataError(
                f"every query needs its own document, got {len(queries)} and {len(documents)}",
                hint="give as many documents as queries; `rank` compares one query with many documents",
            )
        if not queries:
            return np.zeros(0, np.float32)
        query, document = self.tokenize(queries), self.tokenize(documents)
        # texts of like length together: a rectangle is as wide as its longest
        order = (query.lengths + document.lengths).argsort(stable=True)
        out = torch.zeros(len(queries))
        with self._reading():
            for rows in order.split(batch_size):
                read = (tokens.select(rows).to(self.device) for tokens in (query, document))
                out[rows] = self.paired(*read).float().cpu()
        return np.asarray(out.numpy(), np.float32)

    def against(self, documents: Sequence[str]) -> Callable[[str], Float32[np.ndarray, " d"]]:
        """Similarities of a query with these documents, of which all that can be worked out beforehand is."""
        return lambda query: self.score([query] * len(documents), documents)

    def rank(self, query: str, documents: Sequence[str]) -> list[tuple[int, float]]:
        """Positions of the documents and their similarity, best first."""
        if not documents:
            return []
        values = self.against(documents)(query)
        order = np.argsort(-values, kind="stable")
        return [(int(i), float(values[i])) for i in order]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        was = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(was)


class CrossEncoder(Scorer):
    """Both texts end to end through one encoder, whose embedding one linear layer turns into a number: tanh(w x + b).

    Each text may have half of the encoder's tokens.

    Args:
        encoder: reads the pair.

    Raises:
        ModelError: the encoder has no room for two texts.

    References:
        Nogueira and Cho 2019, https://arxiv.org/abs/1901.04085; Su, https://kexue.fm/archives/8860 ("interaction").
    """

    def __init__(self, encoder: Encoder) -> None:
        if encoder.max_tokens < 8:
            raise ModelError(
                f"an encoder of {encoder.max_tokens} tokens has no room for two texts; expected 8 at least",
                hint="raise max_tokens",
            )
        super().__init__(encoder, most=encoder.max_tokens // 2)
        self.head = nn.Linear(encoder.dimension, 1)
        nn.init.normal_(self.head.weight, std=0.02, generator=torch.Generator().manual_seed(0))
        nn.init.zeros_(self.head.bias)

    def paired(self, query: Tokens, document: Tokens) -> Float[Tensor, " n"]:
        """One pass over as many texts as there are pairs."""
        n = len(query)
        both = Tokens(torch.cat([query.ids, document.ids]), torch.cat([query.lengths, document.lengths]))
        by_turns = both.select(torch.arange(2 * n, device=both.ids.device).view(2, n).T.flatten())
        joined = Tokens(by_turns.ids, by_turns.lengths.view(n, 2).sum(1))
        return torch.tanh(self.head(self.encoder(joined))[:, 0])

    def crossed(self, query: Tokens, document: Tokens) -> Float[Tensor, "q d"]:
        """One pass over q d texts."""
        q, d = len(query), len(document)
        rows = torch.arange(q * d, device=query.ids.device) // d
        columns = torch.arange(q * d, device=query.ids.device) % d
        return self.paired(query.select(rows), document.select(columns)).view(q, d)


class MaxSim(Scorer):
    """Late interaction: the mean over the query's tokens of the cosine with the document's nearest token.

    A document is read once, whatever the queries; it takes e numbers per token. (ColBERT takes the sum and fills
    queries up with [MASK]; a mean keeps values between -1 and 1 and ranks the documents of a query alike.)

    Args:
        encoder: its last hidden states are the tokens' vectors.
        dimension: e, what they are projected to.

    References:
        Khattab and Zaharia 2020 (ColBERT), https://arxiv.org/abs/2004.12832, eq. 1 to 3.
    """

    def __init__(self, encoder: Encoder, *, dimension: int = 128) -> None:
        super().__init__(encoder, most=encoder.max_tokens)
        hidden = int(encoder.model.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.project = nn.Linear(hidden, dimension, bias=False)
        nn.init.normal_(self.project.weight, std=hidden**-0.5, generator=torch.Generator().manual_seed(0))

    def states(self, tokens: Tokens) -> tuple[Float[Tensor, "n t e"], Bool[Tensor, "n t"]]:
        """Unit vectors of the tokens of each text, and which of them are real."""
        mask = tokens.mask()
        hidden = self.encoder.model(input_ids=tokens.padded(0).long(), attention_mask=mask.long(), return_dict=True)[0]
        return normalize(self.project(hidden).float(), dim=-1), mask

    def paired(self, query: Tokens, document: Tokens) -> Float[Tensor, " n"]:
        """Of each query with its own document."""
        (q, real_q), (d, real_d) = self.states(query), self.states(document)
        nearest = (q @ d.transpose(1, 2)).masked_fill(~real_d[:, None, :], NONE).amax(-1)
        return _mean(nearest, real_q)

    def crossed(self, query: Tokens, document: Tokens) -> Float[Tensor, "q d"]:
        """Of every query with every document; each text is read once."""
        return self.met(self.states(query), self.states(document))

    def against(self, documents: Sequence[str], *, batch_size: int = 64) -> Callable[[str], Float32[np.ndarray, " d"]]:
        """Similarities of a query with these documents, whose tokens' vectors are kept."""
        tokens = self.tokenize(documents)
        parts = torch.arange(len(documents)).split(batch_size) if documents else ()
        with self._reading():
            kept = [self.states(tokens.select(rows).to(self.device)) for rows in parts]

        def values(query: str) -> Float32[np.ndarray, " d"]:
            with self._reading():
                asked = self.states(self.tokenize([query]).to(self.device))
                met = [self.met(asked, states)[0].float().cpu() for states in kept]
            return np.asarray(torch.cat(met).numpy() if met else np.zeros(0), np.float32)

        return values

    @staticmethod
    def met(query: tuple[Tensor, Tensor], document: tuple[Tensor, Tensor]) -> Float[Tensor, "q d"]:
        """The same from what `states` gave."""
        (q, real_q), (d, real_d) = query, document
        cosines = torch.einsum("qie,dje->qdij", q, d)
        return _mean(cosines.masked_fill(~real_d[None, :, None, :], NONE).amax(-1), real_q[:, None, :])


def _mean(values: Float[Tensor, "*axes t"], real: Bool[Tensor, "*#axes t"]) -> Float[Tensor, "*axes"]:
    return values.where(real, 0.0).sum(-1) / real.sum(-1)
