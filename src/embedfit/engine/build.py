"""The towers of a run, with the tokens of its texts."""

from __future__ import annotations

__all__ = ["Built", "built", "class_means", "family_of_tower"]

from dataclasses import dataclass

import torch

from embedfit.data.examples import Examples
from embedfit.engine.defaults import FamilyName, family_of
from embedfit.engine.exchange import share
from embedfit.engine.views import check_views
from embedfit.recipe import Recipe
from embedfit.team import Team
from embedfit.towers import Ngram, Prototypes, Recurrent, Static, Tower, TwoTower, build, cached_tokens, load
from embedfit.types import Tokens


@dataclass(frozen=True, slots=True)
class Built:
    """Towers, and the tokens that they make of the examples' texts."""

    towers: TwoTower
    query_tokens: Tokens
    document_tokens: Tokens


def built(
    kind: str, recipe: Recipe, data: Examples, *, device: torch.device, team: Team, towers: TwoTower | None = None
) -> Built:
    """The towers, alike in all processes.

    Args:
        kind: of tower.
        recipe: its sizes.
        data: whose texts are embedded; classes get prototypes in place of a document tower.
        device: where the towers go.
        team: the processes.
        towers: these instead.

    Raises:
        ModelError: the model cannot be built or loaded.
        RecipeError: two views of a text are wanted of a tower that embeds it alike each time.
    """
    if towers is None:
        towers = _towers(kind, recipe, data)
    share(towers.to(device), team)
    if recipe.loss.views == "dropout":
        check_views(towers.query, data.query_texts)
    query_tokens = cached_tokens(towers.query, data.query_texts)
    if data.catalogue:
        means = class_means(towers, data, query_tokens)
        table = Prototypes.from_means(data.document_texts, means, parts=towers.query.parts)
        table.sparse = recipe.negatives.kind == "mixed"
        towers = TwoTower(towers.query, table)
        share(towers.to(device), team)  # sums may round differently on another machine
    return Built(towers, query_tokens, cached_tokens(towers.document, data.document_texts))


@torch.no_grad()
def class_means(towers: TwoTower, data: Examples, tokens: Tokens) -> torch.Tensor:
    """Mean unit embedding of each class before training, [classes, e]."""
    was, device = towers.training, next(towers.parameters()).device
    towers.eval()
    chunks = [
        torch.nn.functional.normalize(towers.query(tokens.select(rows).to(device)).float(), dim=-1).cpu()
        for rows in torch.arange(len(tokens)).split(1024)
    ]
    towers.train(was)
    sums = torch.zeros(len(data.document_texts), towers.dimension)
    sums.index_add_(0, data.group, torch.cat(chunks)[data.query])
    return sums / torch.bincount(data.group, minlength=len(sums)).clamp(min=1)[:, None]


def family_of_tower(tower: Tower) -> FamilyName:
    """The family of a tower that was built by the caller."""
    match tower:
        case Ngram() | Static():
            return "bag"
        case Recurrent():
            return "recurrent"
    return "pretrained"


def _towers(kind: str, recipe: Recipe, data: Examples) -> TwoTower:
    settings = recipe.model
    sizes = {
        name: None if value == "auto" else value
        for name in ("dimension", "vocabulary", "layers", "dropout", "max_tokens")
        for value in [getattr(settings, name)]
    }
    if kind == "ngram" and data.target is not None and sizes["dropout"] is None:
        sizes["dropout"] = GRADED_DROPOUT
    if family_of(kind) == "pretrained":
        first = load(kind, dropout=sizes["dropout"], max_tokens=sizes["max_tokens"])
        if settings.shared:
            return first
        return TwoTower(first.query, load(kind, dropout=sizes["dropout"], max_tokens=sizes["max_tokens"]).document)
    texts = data.query_texts if data.catalogue else list(dict.fromkeys(data.query_texts + data.document_texts))
    count = 1 if settings.shared else 2
    return TwoTower(*(build(kind, texts, **sizes, seed=recipe.optim.seed + i) for i in range(count)))


GRADED_DROPOUT = 0.5  # of an n-gram tower's features: a grade needs more of the text than a class does
