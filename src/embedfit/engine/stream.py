"""Batches of pairs that are read, tokenised and told to the others by the process whose rows they are.

The batch of a step is the same on every process and for any number of them, as `train_step` wants it.

Axes: n rows of the step, m rows of this process, t tokens.
"""

from __future__ import annotations

__all__ = ["known_of", "streamed"]

import hashlib

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from embedfit.data.shards import Shards, slice_of, texts_of
from embedfit.pairs import normalise
from embedfit.scores import Known
from embedfit.team import ALONE, Team
from embedfit.towers import Tower, TwoTower
from embedfit.types import Batch, Tokens


def streamed(
    shards: Shards, model: TwoTower, step: int, *, batch_size: int, seed: int = 0, team: Team = ALONE
) -> Batch:
    """The batch of a step; every process of the team calls this at the same time.

    Each reads and tokenises its share of the rows; tokens and identities are gathered.

    Args:
        shards: where the pairs are.
        model: the towers, for their tokenisers.
        step: counted from 0 over the whole run; a run is taken up again by counting on.
        batch_size: pairs of a step, give or take one.
        seed: of the order.
        team: the processes.

    Raises:
        DataError: a file cannot be read, or a text is missing.
    """
    part = slice_of(shards, step, batch_size=batch_size, seed=seed, processes=team.size)
    counts = part.counts(team.size)
    # gathered rows stand in the order of their processes; this puts them back in the order of the step
    back = torch.from_numpy(np.argsort(np.argsort(part.owner, kind="stable"), kind="stable"))
    queries, documents = texts_of(shards, part, team)
    query, query_id, _ = _gathered(model.query, queries, counts, team)
    document, document_id, exact = _gathered(model.document, documents, counts, team)
    query, query_id = query.select(back), query_id[back]
    # a document stands once, however many queries it belongs to
    _, first, place = np.unique(exact[back].numpy(), return_index=True, return_inverse=True)
    identity = torch.unique(torch.cat([query_id, document_id[back][first]]), return_inverse=True)[1]
    n = len(query)
    return Batch(
        query=query,
        document=document.select(back[first]),
        positive=torch.from_numpy(place),
        query_id=identity[:n],
        document_id=identity[n:],
        query_group=torch.full((n,), -1),
        document_group=torch.full((len(first),), -1),
        weight=torch.ones(n),
        target=None,
        rows=torch.arange(n),
    )


def known_of(batch: Batch) -> Known:
    """The pairs of a batch, as `Objective.known`: the other positives of a query that stands in it more than once.

    Of pairs that are not in the batch nothing is known: a vector of all pairs is what a stream is to do without.
    """
    return Known(batch.query_id, batch.document_id[batch.positive])


def _gathered(
    tower: Tower, texts: list[str], counts: list[int], team: Team
) -> tuple[Tokens, Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Tokens of the texts of all processes, their identities after normalisation, and as they stand."""
    tokens = tower.tokenize(texts)
    keys = torch.tensor([[_key(normalise(text)), _key(text)] for text in texts], dtype=torch.long).reshape(-1, 2)
    told = torch.cat([tokens.lengths[:, None], keys], 1).to(team.device)
    told = team.gather(told, counts).cpu()
    ids_of = [int(part[:, 0].sum()) for part in told.split(counts)]
    ids = team.gather(tokens.ids.to(team.device), ids_of).cpu()
    return Tokens(ids, told[:, 0].clone()), told[:, 1], told[:, 2]


def _key(text: str) -> int:
    """The same number in every process; two texts share one with probability 2^-64."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
