"""Bags of features: what `static` and `ngram` share. Rows are gathered, averaged and passed through residual blocks.

Rows begin as random unit vectors scaled by inverse document frequency. Random directions are nearly orthogonal, so
the untrained embedding already ranks as TF-IDF does, up to noise of 1/sqrt(e) (Johnson-Lindenstrauss).
"""

from __future__ import annotations

__all__ = ["Residual", "embed", "idf", "mean_rows", "survivors", "unit_rows"]

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from embedfit.types import Tokens


class Residual(nn.Module):
    """One block `x + contract(relu(expand(x)))`, the identity until it is trained.

    Args:
        dimension: size e of its input and output.
        hidden: size of the layer between.
    """

    def __init__(self, dimension: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(dimension, hidden)
        self.contract = nn.Linear(hidden, dimension)
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)

    def forward(self, x: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
        """The block's output."""
        return x + self.contract(F.relu(self.expand(x)))


def embed(
    table: Float[Tensor, "v a"], head: nn.Module, tokens: Tokens, *, dropout: float = 0.0
) -> Float[Tensor, "n e"]:
    """The head of each text's mean row.

    A text without features passes no gradient: its mean is the zero vector, and the derivative of x / |x| there, some
    1e12, would drown every other text's in the step that meets it.

    Args:
        table: one row per feature.
        head: layers after the mean.
        tokens: row numbers of each text.
        dropout: share of the features that are left out at random.
    """
    out = head(mean_rows(table, tokens, dropout=dropout))
    return torch.where((tokens.lengths == 0)[:, None], out.detach(), out)


def mean_rows(table: Float[Tensor, "v e"], tokens: Tokens, *, dropout: float = 0.0) -> Float[Tensor, "n e"]:
    """Mean of the rows that each text names; a text without features is the zero vector.

    Args:
        table: one row per feature.
        tokens: row numbers of each text.
        dropout: share of the features that are left out at random; a text never loses all of them.
    """
    starts = tokens.starts()
    touched, place = torch.unique(tokens.ids, return_inverse=True)
    rows = F.embedding(touched, table, sparse=True)  # the gradient then holds these rows alone
    if dropout == 0:
        return F.embedding_bag(place, rows, starts, mode="mean")
    text = torch.repeat_interleave(torch.arange(len(tokens), device=table.device), tokens.lengths)
    kept = survivors(text, len(tokens), dropout)
    number = table.new_zeros(len(tokens)).index_add_(0, text, kept).clamp_min(1)
    return F.embedding_bag(place, rows, starts, mode="sum", per_sample_weights=kept / number[text])


def survivors(text: Int[Tensor, " t"], count: int, dropout: float) -> Float[Tensor, " t"]:
    """1 for features that stay, 0 for those left out at random; a text never loses all of them.

    Args:
        text: which text each feature belongs to.
        count: number n of texts.
        dropout: share left out.
    """
    kept = (torch.rand(text.shape, device=text.device) >= dropout).float()
    left = kept.new_zeros(count).index_add_(0, text, kept)
    return torch.where((left == 0)[text], 1.0, kept)


def idf(tokens: Tokens, size: int) -> Float[Tensor, " v"]:
    """Inverse document frequency `1 + ln((1 + n) / (1 + documents with the feature))`, as scikit-learn has it.

    Args:
        tokens: row numbers of n texts.
        size: number v of rows.
    """
    text = torch.repeat_interleave(torch.arange(len(tokens)), tokens.lengths)
    distinct: Int[Tensor, " u"] = torch.unique(text * size + tokens.ids) % size
    documents = torch.bincount(distinct, minlength=size).float()
    return 1 + torch.log((1 + len(tokens)) / (1 + documents))


def unit_rows(scale: Float[Tensor, " v"], dimension: int, *, seed: int) -> Float[Tensor, "v e"]:
    """Random directions, row i of length `scale[i]`; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(scale.numel(), dimension, generator=generator), dim=1) * scale[:, None]
