"""What every tower is: tokens in, one embedding per text out. A tower knows no loss, no score and no file format.

Axes: n texts, e dimensions of an embedding.
"""

from __future__ import annotations

__all__ = ["Tower"]

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from embedfit.types import Tokens


class Tower(nn.Module, ABC):
    """Texts to embeddings, in two halves: `tokenize` once per text, `forward` once per step.

    `forward` may reorder and cut the texts into chunks of similar length as it likes; row i of its result belongs to
    text i. Embeddings are not normalised: similarity is the business of `embedfit.scores`.

    Attributes:
        dimension: size e of an embedding.
        max_tokens: longer texts are cut here.
        parts: the embedding is so many embeddings of equal size end to end, each trained as one of its own (an ensemble
            in one vector); 1 for most towers.
        micro: texts that are embedded at once while training; more texts of a step than that are embedded in turn, each
            such micro-batch with random numbers of its own.
    """

    dimension: int
    max_tokens: int
    parts: int = 1
    micro: int = 256

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Token ids of each text, cut to `max_tokens`; deterministic, without gradient."""

    @abstractmethod
    def forward(self, tokens: Tokens) -> Float[Tensor, "n e"]:
        """One embedding per text, fp32."""

    @abstractmethod
    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has before it is cut (to count truncation); at least so many for huge texts."""
