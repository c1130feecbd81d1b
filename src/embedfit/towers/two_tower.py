"""`TwoTower`: a query tower and a document tower, one and the same when shared."""

from __future__ import annotations

__all__ = ["Role", "TwoTower"]

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from embedfit.errors import ModelError
from embedfit.team import ALONE, Team
from embedfit.towers.base import Tower
from embedfit.types import Tokens

Role = Literal["query", "document"]


class TwoTower(nn.Module):
    """Two towers whose embeddings are compared with each other.

    Args:
        query: embeds queries.
        document: embeds documents; none: the query tower does (shared).

    Raises:
        ModelError: the towers embed into spaces of different size.
    """

    def __init__(self, query: Tower, document: Tower | None = None) -> None:
        super().__init__()
        self.query = query
        self.document = query if document is None else document
        if self.query.dimension != self.document.dimension:
            raise ModelError(
                f"the query tower embeds into {self.query.dimension} dimensions, "
                f"the document tower into {self.document.dimension}; they cannot be compared",
                hint="give both towers the same model.dimension",
            )

    @property
    def shared(self) -> bool:
        """Whether one tower embeds both queries and documents."""
        return self.query is self.document

    @property
    def dimension(self) -> int:
        """Size e of an embedding."""
        return self.query.dimension

    def tower(self, role: Role) -> Tower:
        """The tower that embeds texts of this role."""
        return self.query if role == "query" else self.document

    def encode(
        self,
        texts: Sequence[str],
        *,
        role: Role = "query",
        batch_size: int = 256,
        progress: Callable[[int, int], None] | None = None,
        team: Team = ALONE,
    ) -> Float32[np.ndarray, "n e"]:
        """Unit-length embeddings, without gradient and without dropout; modes are restored afterwards.

        Equal texts are embedded once, texts of similar length together. A text in which a tower finds nothing (for a
        bag of features, the empty one) is the zero vector.

        Args:
            texts: any texts; none is fine.
            role: which tower embeds them.
            batch_size: distinct texts in one forward pass.
            progress: told (distinct texts done, distinct texts in all) after every batch.
            team: processes that all ask for these texts at the same time: each embeds a share, in the same batches as
                one alone would, and gets the embeddings of all.
        """
        tower = self.tower(role)
        distinct = list(dict.fromkeys(texts))
        # by characters and not by tokens, so that a process needs to tokenise its own share only
        order = torch.tensor([len(text) for text in distinct], dtype=torch.long).argsort(stable=True)
        batches = order.split(batch_size)
        shares = [torch.cat([order[:0], *batches[rank :: team.size]]) for rank in range(team.size)]
        own = shares[team.rank].tolist()
        found = torch.zeros(len(own), self.dimension)
        with _evaluating(tower):
            tokens = tower.tokenize([distinct[i] for i in own])
            for start in range(0, len(own), batch_size):
                rows = torch.arange(start, min(start + batch_size, len(own)))
                found[rows] = _embed(tower, tokens.select(rows)).cpu()
                if progress is not None:
                    progress(min(len(distinct), team.size * (start + len(rows))), len(distinct))
        out = torch.empty(len(distinct), self.dimension)
        out[torch.cat(shares)] = team.gather(found.to(team.device), [len(share) for share in shares]).cpu()
        number = {text: i for i, text in enumerate(distinct)}
        return out.numpy()[[number[text] for text in texts]]


def _embed(tower: Tower, tokens: Tokens) -> Float[Tensor, "n e"]:
    device = next(tower.parameters()).device
    return F.normalize(tower(tokens.to(device)).float(), dim=1)


@contextmanager
def _evaluating(tower: Tower) -> Iterator[None]:
    modes = [(module, module.training) for module in tower.modules()]
    tower.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
