"""Two views of a text: the same text twice, under different dropout."""

from __future__ import annotations

__all__ = ["check_views", "twice"]

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
    number = dict(zip(data.query_texts, data.query_id.tolist(), strict=True))
    if not data.catalogue:
        number |= dict(zip(data.document_texts, data.document_id.tolist(), strict=True))
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
