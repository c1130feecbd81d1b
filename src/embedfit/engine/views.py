"""Two views of a text: the same text twice, under different dropout, or the two texts of a pair, either way."""

from __future__ import annotations

__all__ = ["both_ways", "check_views", "twice"]

import torch

from embedfit.data.examples import Examples
from embedfit.engine.embed import seeded
from embedfit.errors import RecipeError
from embedfit.towers import Tower

LOOKED_AT = 8  # texts


def twice(data: Examples) -> Examples:
    """Every distinct text as the positive of itself; labels, pairs and grades are left aside.

    References:
        Gao et al. 2021 (SimCSE), https://arxiv.org/abs/2104.08821, section 3.
    """
    number = _texts(data)
    identity, count = torch.tensor(list(number.values())), len(number)
    every, none = torch.arange(count), torch.full((count,), -1, dtype=torch.long)
    return Examples(
        query_texts=list(number),
        document_texts=list(number),
        query_id=identity,
        document_id=identity,
        query=every,
        positive=every,
        negatives=torch.empty((count, 0), dtype=torch.long),
        group=none,
        document_group=none,
        weight=torch.ones(count),
    )


def both_ways(data: Examples) -> Examples:
    """Every pair, and every pair with its texts exchanged: what a loss asks of queries is then asked of documents too.

    In expectation this is the symmetric form of a loss that embeds the two texts of a pair differently. Texts whose
    partner is drawn from their class are exchanged by the draw as it is.

    References:
        Grill et al. 2020 (BYOL), https://arxiv.org/abs/2006.07733, eq. 2 and below (the loss is symmetrised).
    """
    if data.partners:
        return data
    number = _texts(data)
    identity, row = torch.tensor(list(number.values())), {text: i for i, text in enumerate(number)}
    query = torch.tensor([row[text] for text in data.query_texts])[data.query]
    positive = torch.tensor([row[text] for text in data.document_texts])[data.positive]
    return Examples(
        query_texts=list(number),
        document_texts=list(number),
        query_id=identity,
        document_id=identity,
        query=torch.cat([query, positive]),
        positive=torch.cat([positive, query]),
        negatives=torch.empty((2 * len(data), 0), dtype=torch.long),
        group=data.group.repeat(2),
        document_group=torch.full((len(number),), -1, dtype=torch.long),
        weight=data.weight.repeat(2),
    )


def _texts(data: Examples) -> dict[str, int]:
    """Every distinct text with its identity; labels are none."""
    number = dict(zip(data.query_texts, data.query_id.tolist(), strict=True))
    if not data.catalogue:
        number |= dict(zip(data.document_texts, data.document_id.tolist(), strict=True))
    return number


@torch.no_grad()
def check_views(tower: Tower, texts: list[str]) -> None:
    """Make sure that a tower embeds a text differently each time it is trained on.

    Raises:
        RecipeError: it does not.
    """
    tokens = tower.tokenize(texts[:LOOKED_AT]).to(next(tower.parameters()).device)
    was = tower.training
    tower.train()
    seen = []
    for draw in (1, 2):
        with seeded(0, draw):
            seen.append(tower(tokens).float())
    tower.train(was)
    if torch.equal(*seen):
        raise RecipeError(
            'loss.views is "dropout", and this tower embeds a text alike each time: it has no dropout',
            hint="set model.dropout = 0.1",
        )
