"""Batches of pairs that are read, tokenised and told to the others by the process whose rows they are.

The batch of a step is the same on every process and for any number of them, as `train_step` wants it.

Axes: n rows of the step, m rows of this process, t tokens.
"""

from __future__ import annotations

__all__ = ["Stream"]

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from embedfit.data.shard_rows import slice_of, texts_of
from embedfit.data.shards import Shards
from embedfit.errors import DataError
from embedfit.pairs import normalise
from embedfit.team import ALONE, Team
from embedfit.towers import Tower, TwoTower
from embedfit.types import Batch, Tokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """Batches from shards; every process of the team asks for the same one at the same time.

    Attributes:
        shards: where the pairs are.
        model: the towers, for their tokenisers.
        team: the processes. Each reads and tokenises its share of the rows; tokens and identities are gathered.
    """

    shards: Shards
    model: TwoTower
    team: Team = ALONE

    def batch(self, step: int, *, batch_size: int, seed: int = 0, first: int = 0) -> Batch:
        """The batch of a step, without rows that are held out or have no text.

        Args:
            step: counted from 0 over the whole run; a run is taken up again by counting on.
            batch_size: pairs of a step, give or take one.
            seed: of the order.
            first: number of the first epoch.

        Raises:
            DataError: a file cannot be read, a text is missing, or no row is left.
        """
        part = slice_of(self.shards, step, batch_size=batch_size, seed=seed, processes=self.team.size, first=first)
        counts = part.counts(self.team.size)
        queries, documents, taken = texts_of(self.shards, part, self.team)
        query, query_key, kept = self._gathered(self.model.query, queries, counts, taken)
        document, document_key, _ = self._gathered(self.model.document, documents, counts, taken)
        # gathered rows stand in the order of their processes; this puts those that are taken in the order of the step
        back = torch.from_numpy(np.argsort(np.argsort(part.owner, kind="stable"), kind="stable"))
        order = back[kept[back]]
        if len(order) < 2:
            raise DataError(
                f"of the {len(kept)} rows of step {step}, {len(order)} can be trained on",
                hint="raise optim.batch_size, or look at the rows",
            )
        query_id, document_id, exact = query_key[order, 0], document_key[order, 0], document_key[order, 1]
        # a document stands once, however many queries it belongs to
        _, at, place = np.unique(exact.numpy(), return_index=True, return_inverse=True)
        identity = torch.unique(torch.cat([query_id, document_id[at]]), return_inverse=True)[1]
        n = len(order)
        starts = np.cumsum(self.shards.sizes) - self.shards.sizes
        return Batch(
            query=query.select(order),
            document=document.select(order[at]),
            positive=torch.from_numpy(place),
            query_id=identity[:n],
            document_id=identity[n:],
            query_group=torch.full((n,), -1),
            document_group=torch.full((len(at),), -1),
            weight=torch.ones(n),
            target=None,
            rows=torch.from_numpy(starts[part.group] + part.row)[kept[back]],
        )

    def _gathered(
        self, tower: Tower, texts: list[str], counts: list[int], taken: list[bool]
    ) -> tuple[Tokens, Int[Tensor, "n 2"], Bool[Tensor, " n"]]:
        """Tokens of the texts of all processes, their identities after normalisation and as they stand, and `taken`."""
        team, tokens = self.team, tower.tokenize(texts)
        keys = torch.tensor([[_key(normalise(text)), _key(text)] for text in texts], dtype=torch.long).reshape(-1, 2)
        flags = torch.tensor(taken, dtype=torch.long)[:, None]
        told = team.gather(torch.cat([tokens.lengths[:, None], keys, flags], 1).to(team.device), counts).cpu()
        ids_of = [int(part[:, 0].sum()) for part in told.split(counts)]
        ids = team.gather(tokens.ids.to(team.device), ids_of).cpu()
        return Tokens(ids, told[:, 0].clone()), told[:, 1:3], told[:, 3] > 0


def _key(text: str) -> int:
    """The same number in every process; two texts share one with probability 2^-64."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
